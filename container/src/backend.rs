//! The back-end that kernels run on.

use at1w_codec::Backend;

use crate::error::Result;

/// Returns the back-end that options name; without one, the back-end that the environment variable
/// `AT1W_SIMD` names, or the best one.
pub(crate) fn chosen(backend: Option<Backend>) -> Result<Backend> {
    match backend {
        Some(backend) => Ok(backend),
        None => Ok(Backend::from_environment()?),
    }
}
