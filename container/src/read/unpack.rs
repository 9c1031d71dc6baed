//! From `.at1w` back to safetensors.

use std::fmt;
use std::path::Path;

use super::reader::Reader;
use crate::error::{Error, Result};
use crate::fs::atomic::write_like;
use crate::progress::Progress;
use crate::summary::Summary;

/// How to unpack a file.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct UnpackOptions<'a> {
    /// Whether to replace a target that exists.
    pub overwrite: bool,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

impl Default for UnpackOptions<'_> {
    fn default() -> Self {
        Self { overwrite: false, progress: &() }
    }
}

impl fmt::Debug for UnpackOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnpackOptions").field("overwrite", &self.overwrite).finish_non_exhaustive()
    }
}

impl<'a> UnpackOptions<'a> {
    /// Returns the defaults: no target is replaced, and nobody is told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to replace a target that exists.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// Sets the listener that is told about the work.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}

/// Restores the safetensors file that `source` was packed from to `target`, which appears whole or
/// not at all: every chunk is verified, and the SHA-256 of the whole before the rename. The target
/// gets no permissions that the source does not have.
///
/// # Errors
/// Those of [`Reader::open`] and [`Reader::restore`], and [`Error::Exists`]; all name the file.
pub fn unpack_file(source: &Path, target: &Path, options: &UnpackOptions<'_>) -> Result<Summary> {
    unpack_opened(&Reader::open(source)?, source, target, options)
}

/// [`unpack_file`] for a source that is open.
pub(crate) fn unpack_opened(
    reader: &Reader,
    source: &Path,
    target: &Path,
    options: &UnpackOptions<'_>,
) -> Result<Summary> {
    write_like(source, target, options.overwrite, |out| {
        reader.restore(out, options.progress).map_err(|error| match error {
            Error::Write(_) => error,
            error => error.in_file(source),
        })
    })?;
    let info = reader.info();
    Ok(Summary {
        tensors: reader.len() as u64,
        original_len: info.original_len,
        packed_len: info.packed_len,
        root: info.root,
        original_digest: info.original_digest,
    })
}
