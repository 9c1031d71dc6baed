//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::TempPath;

use crate::temporary::{Kind, Temporary};
use crate::{Error, Result};

/// What is private to nobody.
const PUBLIC: u32 = 0o666;

/// Makes `target` by way of a temporary file beside it: what `write` put there is synced to disk,
/// renamed to `target`, and the folder is synced. On failure nothing is left behind, and what was
/// at `target` is untouched. A process that is killed leaves its temporary file, which ends in
/// `.at1w-tmp` and is removed by the next one that writes to `target`. The file has the permissions
/// that the user's umask gives.
///
/// # Errors
/// [`Error::Exists`] when there is a `target` and not `overwrite`, [`Error::NotAFile`] when it is
/// no regular file, [`Error::Busy`] while another writes to it; what `write` says; [`Error::Io`].
pub fn write_atomically<T>(
    target: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    write_with_mode(PUBLIC, target, overwrite, write)
}

/// [`write_atomically`], of a new file that nobody but its owner may read, from the beginning.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_secret(target: &Path, secret: &[u8]) -> Result<()> {
    write_with_mode(0o600, target, false, |file| file.write_all(secret).map_err(Error::Write))
}

/// [`write_atomically`], of a file that has these permissions from the beginning, without those that
/// the umask takes away.
pub(crate) fn write_with_mode<T>(
    mode: u32,
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
    let mut temporary = Temporary::new(Kind::File { mode }, folder, target)?;
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

/// The permissions of `source` for a file or a directory that is made of it: those of the owner to
/// read it at least. The umask takes some of them away.
pub(crate) fn mode_like(source: &Path) -> Result<u32> {
    #[cfg(unix)]
    {
        let metadata = fs::metadata(source).map_err(Error::io(source))?;
        Ok(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777 | 0o400)
    }
    #[cfg(not(unix))]
    {
        let _ = source;
        Ok(PUBLIC)
    }
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

    #[cfg(unix)]
    #[test]
    fn what_is_private_is_so_while_it_is_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |file: &Path| file.metadata().unwrap().permissions().mode() & 0o777;
        let source = folder.path().join("source");
        write_secret(&source, b"secret").unwrap();
        assert_eq!(mode(&source), 0o600);
        let target = folder.path().join("target");
        write_with_mode(mode_like(&source).unwrap(), &target, false, |file| {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            Ok(())
        })
        .unwrap();
        assert_eq!(mode(&target), 0o600);
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
