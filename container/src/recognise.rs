//! Recognises files by their bytes: packed ones by their magic, others once their header does not
//! parse, so that no valid file is misjudged.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use crate::error::header::HeaderError;
use crate::error::{Error, Result};
use crate::format::magic::{END_MAGIC, MAGIC};
use crate::kind::{FileKind, LOOKED_AT, Wanted};
use crate::source::{self, ReadAt};

/// Whether a file with these bytes, or more, begins as an `.at1w` file.
pub fn begins_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Whether a file begins as an `.at1w` file. A pipe or another special file does not.
///
/// # Errors
/// [`Error::Io`].
pub fn is_packed(path: &Path) -> Result<bool> {
    if !path.metadata().map_err(Error::io(path))?.is_file() {
        return Ok(false);
    }
    let file = File::open(path).map_err(Error::io(path))?;
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(Error::io(path))?;
    Ok(begins_packed(&start))
}

/// Names what a source holds, for one that does not parse as the wanted kind: a damaged `.at1w`
/// file, or another kind of file.
pub(crate) fn recognise(source: &dyn ReadAt, wanted: Wanted) -> Result<Option<Error>> {
    let damaged = |problem: &str| {
        let problem = problem.into();
        Ok(Some(Error::Damaged { section: "first bytes", offset: 0, problem }))
    };
    let size = source::size(source)?;
    let start = source::read(source, 0..size.min(4))?;
    let end = source::read(source, size.saturating_sub(END_MAGIC.len() as u64)..size)?;
    if *start == MAGIC[..4] {
        // The line ends in the magic are there to show this.
        return damaged("the file may have been converted as a text");
    }
    if *end == END_MAGIC {
        return damaged("the file ends as an .at1w file, and does not begin as one");
    }
    Ok(look(source)?.map(|found| Error::wrong_kind(found, wanted)))
}

/// Recognises the kind of file that a source holds by its first bytes.
pub(crate) fn look(source: &dyn ReadAt) -> Result<Option<FileKind>> {
    let size = source::size(source)?;
    Ok(FileKind::of(&source::read(source, 0..size.min(LOOKED_AT))?))
}

/// Replaces the error of a header that does not parse by the kind of the file, where the kind is
/// known.
pub(crate) fn explain(source: &dyn ReadAt, error: Error, wanted: Wanted) -> Error {
    let unparsed = matches!(
        error,
        Error::Safetensors(
            HeaderError::TooShort(_)
                | HeaderError::TooLarge(_)
                | HeaderError::Truncated { .. }
                | HeaderError::Json(_)
        )
    );
    match unparsed.then(|| recognise(source, wanted)) {
        Some(Ok(Some(known))) => known,
        _ => error,
    }
}

/// Opens a file for reading.
///
/// # Errors
/// [`Error::WrongKind`] for a directory, a pipe, a socket or a device, none of which can be read
/// at any offset; [`Error::Io`].
pub fn open_file(path: &Path, wanted: Wanted) -> Result<File> {
    // Before it is opened: to open a pipe blocks until somebody writes to it.
    let metadata = path.metadata().map_err(Error::io(path))?;
    check_regular(&metadata, wanted).map_err(|error| error.in_file(path))?;
    File::open(path).map_err(Error::io(path))
}

fn check_regular(metadata: &Metadata, wanted: Wanted) -> Result<()> {
    let found = match metadata {
        metadata if metadata.is_file() => return Ok(()),
        metadata if metadata.is_dir() => FileKind::Directory,
        _ => FileKind::Special,
    };
    Err(Error::wrong_kind(found, wanted))
}
