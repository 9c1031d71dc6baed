//! How long-running work reports, and how it is stopped.

use crate::error::{Error, Result};
use crate::summary::Summary;

/// A listener that is told about work as it is done, from any thread, and can stop it. `()` is
/// silent and never stops.
pub trait Progress: Sync {
    /// Called once before the first byte of a repository, whose files have `bytes` raw bytes in
    /// all.
    fn begin(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Called when `bytes` more raw bytes are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Called with a message that a person should see, though the work goes on.
    fn warn(&self, message: &str) {
        let _ = message;
    }

    /// Called with a message that may be of interest, and is not about a fault.
    fn note(&self, message: &str) {
        let _ = message;
    }

    /// Called with the path of a file that was replaced in place
    /// ([`pack_in_place`](crate::repository::pack_in_place)).
    fn replaced(&self, path: &str, summary: &Summary) {
        let _ = (path, summary);
    }

    /// Returns whether to stop. The work then ends with [`Error::Cancelled`] and leaves nothing
    /// behind.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}

/// Reports `bytes` done, and stops if asked to.
pub(crate) fn report(progress: &dyn Progress, bytes: u64) -> Result<()> {
    progress.advance(bytes);
    check(progress)
}

/// Stops if asked to.
pub(crate) fn check(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}
