//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempPath;

use crate::temporary::{Kind, Temporary};
use crate::{Error, Result};

/// Makes `target` by way of a temporary file beside it: what `write` put there is synced to disk,
/// renamed to `target`, and the folder is synced. On failure nothing is left behind, and what was
/// at `target` is untouched. A process that is killed leaves its temporary file, which ends in
/// `.at1w-tmp` and is removed by the next one that writes to `target`. The file has the permissions
/// that the user's umask gives, unless `write` changes them.
///
/// # Errors
/// [`Error::Exists`] when there is a `target` and not `overwrite`, [`Error::NotAFile`] when it is
/// no regular file, [`Error::Busy`] while another writes to it; what `write` says; [`Error::Io`].
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
    let mut temporary = Temporary::new(Kind::File, folder, target)?;
    let result = write(temporary.file()).map_err(|error| error.in_file(target))?;
    temporary.file().sync_all().map_err(Error::io(target))?;
    if overwrite {
        fs::rename(temporary.path(), target).map_err(Error::io(target))?;
    } else {
        rename_without_replacing(temporary.path(), target)?;
    }
    sync_folder(folder)?;
    Ok(result)
}

/// Gives a file that is being written the permissions of `source`, as far as the user's umask lets
/// it have them: what is private or executable stays so, and nothing else is passed on.
pub(crate) fn keep_mode(source: &Path, file: &File) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let mode = fs::metadata(source).map_err(Error::io(source))?.mode();
        let given = file.metadata().map_err(Error::Write)?.mode() & 0o777;
        let most = given | (given & 0o444) >> 2;
        file.set_permissions(fs::Permissions::from_mode(mode & most)).map_err(Error::Write)?;
    }
    #[cfg(not(unix))]
    let _ = (source, file);
    Ok(())
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

/// Another process may have made the target since it was looked for.
fn rename_without_replacing(temporary: &Path, target: &Path) -> Result<()> {
    let path = TempPath::try_from_path(temporary).map_err(Error::io(target))?;
    path.persist_noclobber(target).map_err(|failed| match failed.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(target.into()),
        _ => Error::Io { path: target.into(), source: failed.error },
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_rename_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let done = write_atomically(&target, true, |file| {
            file.write_all(b"new").map_err(Error::Write)?;
            fs::create_dir(&target).map_err(Error::io(&target))
        });
        assert!(matches!(done, Err(Error::Io { path, .. }) if path == target));
        assert!(target.is_dir());
        assert_eq!(names(folder.path()), ["target"]);
    }

    #[test]
    fn what_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let done = write_atomically(&target, false, |_| {
            fs::write(&target, "another").map_err(Error::io(&target))
        });
        assert!(matches!(done, Err(Error::Exists(path)) if path == target));
        assert_eq!(fs::read(&target).unwrap(), b"another");
        assert_eq!(names(folder.path()), ["target"]);
    }
}
