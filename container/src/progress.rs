//! How long-running work reports, and how it is stopped.

use crate::{Error, Result};

/// Told about the work as it is done, from any thread. `()` is silent and never stops.
pub trait Progress: Sync {
    /// `bytes` more raw bytes are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Whether to stop. The work then ends with [`Error::Cancelled`] and leaves nothing behind.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}

/// Reports `bytes` done, and stops if asked to.
pub(crate) fn report(progress: &dyn Progress, bytes: u64) -> Result<()> {
    progress.advance(bytes);
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}
