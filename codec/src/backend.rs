//! The back-end of callers that name none.

use std::sync::OnceLock;

use at1w_simd::Backend;

/// Returns the back-end that the environment variable `AT1W_SIMD` names, and the best one where it
/// names none that this machine has.
///
/// The variable is read once per process: reading it takes as long as decoding a small chunk, and
/// races with C code that changes the environment on another thread.
pub fn default_backend() -> Backend {
    static DEFAULT: OnceLock<Backend> = OnceLock::new();
    *DEFAULT.get_or_init(|| Backend::from_environment().unwrap_or_default())
}
