//! The paths that were not measured.

use at1w_container::Error;
use serde::Serialize;

/// A path that was not measured, and why.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// The path.
    pub path: String,
    /// The problem, and what to do about it.
    pub message: String,
    /// Whether bytes did not come back as they were.
    pub damaged: bool,
}

impl Fault {
    pub(crate) fn new(path: &str, error: &Error) -> Self {
        let message = error.to_string();
        // The path stands beside the message.
        let message = message.strip_prefix(&format!("{path}: ")).unwrap_or(&message);
        Self { path: path.to_owned(), message: message.to_owned(), damaged: false }
    }
}
