//! From `.at1w` back to safetensors.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::folders::Folders;
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, write_with_mode};
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
    /// Where bases are looked for. `None` is beside the source, and in the folders that the
    /// environment variable `AT1W_BASES` lists.
    pub bases: Option<&'a Folders>,
}

impl Default for UnpackOptions<'_> {
    fn default() -> Self {
        Self { overwrite: false, progress: &(), bases: None }
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

    /// Sets where bases are looked for.
    #[must_use]
    pub fn bases(self, bases: &'a Folders) -> Self {
        Self { bases: Some(bases), ..self }
    }
}

/// Restores the safetensors file that `source` was packed from to `target`, which appears whole or
/// not at all: every chunk is verified, and the SHA-256 of the whole before the rename. The target
/// gets no permissions that the source does not have.
///
/// # Errors
/// Those of [`Reader::open`] and [`Reader::restore`], and [`Error::Exists`]; all name the file.
pub fn unpack_file(source: &Path, target: &Path, options: &UnpackOptions<'_>) -> Result<Summary> {
    let bases = options.bases.cloned().unwrap_or_else(|| Folders::beside(source));
    let reader = Reader::open(source)?.with_bases(Arc::new(bases));
    unpack_opened(&reader, source, (target, Mode::like(source)?), None, options)
}

/// [`unpack_file`] for a source that is open, with a rule for the permissions of the target and its
/// time.
pub(crate) fn unpack_opened(
    reader: &Reader,
    source: &Path,
    (target, mode): (&Path, Mode),
    modified: Option<SystemTime>,
    options: &UnpackOptions<'_>,
) -> Result<Summary> {
    write_with_mode(mode, target, options.overwrite, |out| {
        reader.restore(out, options.progress).map_err(|error| match error {
            Error::Write(_) => error,
            error => error.in_file(source),
        })?;
        modified.map_or(Ok(()), |time| out.set_modified(time)).map_err(Error::Write)
    })?;
    Ok(reader.summary())
}
