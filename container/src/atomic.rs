//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::path::Path;

use crate::{Error, Result};

/// Makes `target` by way of a temporary file beside it: what `write` put there is synced to disk,
/// renamed to `target`, and the folder is synced. On failure nothing is left behind, and what was
/// at `target` is untouched. The file gets the permissions that the user's umask gives.
///
/// # Errors
/// [`Error::Exists`] when there is a `target` and not `overwrite`, [`Error::NotAFile`] when it is
/// no regular file; what `write` says; [`Error::Io`].
pub fn write_atomically<T>(
    target: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    // A device or a directory is never replaced; a symbolic link is, but not what it points to.
    if target.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::NotAFile(target.into()));
    }
    if !overwrite && target.symlink_metadata().is_ok() {
        return Err(Error::Exists(target.into()));
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut prefix = std::ffi::OsString::from(".");
    // Not the whole name: with the rest it could become too long for the file system.
    prefix.push(target.file_name().map(short).unwrap_or_default());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder).map_err(Error::io(target))?;

    let result = write(temporary.as_file_mut()).map_err(|error| error.in_file(target))?;
    temporary.as_file().sync_all().map_err(Error::io(target))?;
    let renamed =
        if overwrite { temporary.persist(target) } else { temporary.persist_noclobber(target) };
    renamed.map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists(target.into()),
        _ => Error::Io { path: target.into(), source: e.error },
    })?;
    sync_folder(folder)?;
    Ok(result)
}

/// That writing to `target` does not replace `source`.
///
/// # Errors
/// [`Error::SameFile`].
pub fn check_distinct(source: &Path, target: &Path) -> Result<()> {
    match (fs::canonicalize(source), fs::canonicalize(target)) {
        (Ok(from), Ok(to)) if from == to => Err(Error::SameFile(target.into())),
        _ => Ok(()),
    }
}

/// Makes a rename in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        fs::File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder))?;
    }
    Ok(())
}

fn short(name: &std::ffi::OsStr) -> String {
    name.to_string_lossy().chars().take(40).collect()
}
