//! From `.at1w` back to safetensors.

use std::path::Path;

use crate::fs::atomic::write_like;
use crate::write::pack::Summary;
use crate::{Error, Progress, Reader, Result};

/// How to unpack a file.
#[derive(Clone, Copy)]
pub struct UnpackOptions<'a> {
    /// Whether to replace a target that exists.
    pub overwrite: bool,
    /// Whom to tell.
    pub progress: &'a dyn Progress,
}

impl Default for UnpackOptions<'_> {
    fn default() -> Self {
        Self { overwrite: false, progress: &() }
    }
}

/// Restores the safetensors file that `source` was packed from to `target`, which appears whole or
/// not at all: every chunk is verified, and the SHA-256 of the whole before the rename. It gets no
/// permissions that the source has not.
///
/// # Errors
/// Those of [`Reader::open`] and [`Reader::restore`], and [`Error::Exists`]; all name the file.
pub fn unpack_file(source: &Path, target: &Path, options: &UnpackOptions<'_>) -> Result<Summary> {
    unpack_opened(&Reader::open(source)?, source, target, options)
}

/// [`unpack_file`] of a source that is open.
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
