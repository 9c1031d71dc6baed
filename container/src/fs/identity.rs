//! Notices that a file was changed while it was read.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Error, Result};

/// The properties of a file that change when somebody writes to it.
#[derive(PartialEq)]
pub(crate) struct Identity {
    pub(crate) len: u64,
    modified: Option<SystemTime>,
}

impl Identity {
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::io(path))?;
        Ok(Self { len: metadata.len(), modified: metadata.modified().ok() })
    }

    /// Checks that the file has not changed since.
    pub(crate) fn check(&self, file: &File, path: &Path) -> Result<()> {
        if *self == Self::of(file, path)? {
            return Ok(());
        }
        let problem = "its size or time of change is another: do it again";
        Err(Error::SourceChanged(problem.into()).in_file(path))
    }
}
