//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::TempPath;

use crate::error::{Error, Result};
use crate::fs::temporary::{Kind, Temporary};

/// The rule for the permissions of a new file, as the bits of its mode.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// The permissions of a file that replaces none. The umask takes some of them away.
    new: u32,
    /// The most permissions that the file may have. The umask plays no part where a file is
    /// replaced.
    limit: u32,
    /// The permissions of the file that is replaced in the end, if that lies in another place.
    replaced: Option<u32>,
    /// Whether the caller syncs the file to disk, with many others.
    synced_later: bool,
}

impl Mode {
    /// A file that anybody may read.
    pub(crate) const PUBLIC: Self =
        Self { new: 0o666, limit: 0o777, replaced: None, synced_later: false };

    /// A file that only its owner may read.
    const SECRET: Self = Self { new: 0o600, limit: 0o600, replaced: None, synced_later: false };

    /// Returns the rule for a file that gets no more permissions than `source` has.
    pub(crate) fn like(source: &Path) -> Result<Self> {
        let mode = mode_like(source)?;
        Ok(Self { new: mode, limit: mode, replaced: None, synced_later: false })
    }

    /// Returns the rule for a file that is written to another place first, is synced there, and
    /// then replaces the one at `target`.
    pub(crate) fn staged_for(self, target: &Path) -> Self {
        Self { replaced: permissions(target).ok(), synced_later: true, ..self }
    }

    /// Returns the permissions for a file that replaces the one at `target`: the same, within the
    /// limit.
    fn replacing(self, target: &Path) -> Option<u32> {
        let replaced = self.replaced.or_else(|| permissions(target).ok());
        replaced.map(|replaced| replaced & self.limit | READABLE)
    }
}

/// The permission that the owner of a file has at least.
const READABLE: u32 = 0o400;

/// Makes `target` by way of a temporary file beside it: `write` fills the temporary file, which is
/// synced to disk and renamed to `target`, and the folder is synced. On failure nothing is left
/// behind, and the file at `target` is untouched. A killed process leaves its temporary file, whose
/// name ends in `.at1w-tmp`; a later process that writes to `target` removes it. Any number of
/// processes may write at once: each has a temporary file of its own, and the last rename wins.
///
/// A file that is replaced keeps its permissions; a new one has those that the umask gives.
///
/// # Errors
/// [`Error::Exists`] when there is a `target` and not `overwrite`, [`Error::NotAFile`] when it is
/// no regular file, [`Error::NoFolder`] when there is no folder for it; the errors of `write`;
/// [`Error::Io`].
pub fn write_atomically<T>(
    target: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    write_with_mode(Mode::PUBLIC, target, overwrite, write)
}

/// [`write_atomically`] for a file that is made of `source`: it gets no permissions that `source`
/// does not have. Its owner may read it in any case.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_like<T>(
    source: &Path,
    target: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    write_with_mode(Mode::like(source)?, target, overwrite, write)
}

/// [`write_atomically`] for a new file that nobody but its owner may read, from the beginning.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_secret(target: &Path, secret: &[u8]) -> Result<()> {
    write_with_mode(Mode::SECRET, target, false, |file| {
        file.write_all(secret).map_err(Error::Write)
    })
}

/// [`write_atomically`] for a file that never has more permissions than `mode` says.
pub(crate) fn write_with_mode<T>(
    mode: Mode,
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
    check_folder(folder)?;
    let kind = Kind::File { mode: mode.replacing(target).unwrap_or(mode.new) };
    let mut temporary = Temporary::new(kind, folder, target)?;
    let result = write(temporary.file()).map_err(|error| error.in_file(target))?;
    // The umask may have taken permissions away, and others may have changed the target since.
    if let Some(mode) = mode.replacing(target) {
        set_mode(temporary.file(), mode).map_err(Error::io(target))?;
    }
    if !mode.synced_later {
        temporary.file().sync_all().map_err(Error::io(target))?;
    }
    if overwrite {
        fs::rename(temporary.path(), target).map_err(Error::io(target))?;
    } else {
        rename_without_replacing(temporary.path(), target)?;
    }
    if !mode.synced_later {
        sync_folder(folder)?;
    }
    Ok(result)
}

/// Makes `target` another name of `source`, in the place of the file that it was the name of.
pub(crate) fn link_over(source: &Path, target: &Path) -> Result<()> {
    let folder = target.parent().unwrap_or(target);
    let temporary = Temporary::new(Kind::Directory, folder, target)?;
    let name = temporary.path().join("name");
    fs::hard_link(source, &name).map_err(Error::io(target))?;
    fs::rename(name, target).map_err(Error::io(target))?;
    sync_folder(folder)
}

/// Checks that there is a folder to write to.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    match folder.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoFolder(folder.into()))
        }
        _ => Ok(()),
    }
}

/// Returns the permissions of `source` for a file or a directory that is made of it, which the
/// owner may read at least. The umask takes some of them away.
pub(crate) fn mode_like(source: &Path) -> Result<u32> {
    Ok(permissions(source).map_err(Error::io(source))? | READABLE)
}

/// Returns the permissions of the file or the directory that `path` leads to.
pub(crate) fn permissions(path: &Path) -> io::Result<u32> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    {
        Ok(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(Mode::PUBLIC.new)
    }
}

/// Sets the permissions of the file at `path`.
pub(crate) fn set_permissions(path: &Path, mode: u32) -> Result<()> {
    File::open(path).and_then(|file| set_mode(&file, mode)).map_err(Error::io(path))
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, mode);
        Ok(())
    }
}

/// Checks that writing to `target` does not replace `source`.
///
/// # Errors
/// [`Error::SameFile`].
pub fn check_distinct(source: &Path, target: &Path) -> Result<()> {
    match (fs::canonicalize(source), fs::canonicalize(target)) {
        (Ok(from), Ok(to)) if from == to => Err(Error::SameFile(target.into())),
        _ => Ok(()),
    }
}

/// Makes the bytes of a file survive a power cut.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    // Some systems sync only files that are open for writing.
    let file = File::options().write(true).open(path).or_else(|_| File::open(path));
    file.and_then(|file| file.sync_all()).map_err(Error::io(path))
}

/// Makes a rename in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        fs::File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder))?;
    }
    Ok(())
}

/// Renames a temporary file. Another process may have made the target since the last check.
fn rename_without_replacing(temporary: &Path, target: &Path) -> Result<()> {
    let path = TempPath::try_from_path(temporary).map_err(Error::io(target))?;
    path.persist_noclobber(target).map_err(|failed| match failed.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(target.into()),
        _ => Error::io(target)(failed.error),
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
        let private_from_the_beginning = |file: &mut File| {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            Ok(())
        };
        write_like(&source, &target, false, private_from_the_beginning).unwrap();
        assert_eq!(mode(&target), 0o600);
        // A file without a source too, where it replaces a private one.
        write_atomically(&target, true, private_from_the_beginning).unwrap();
        assert_eq!(mode(&target), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_replaced_keeps_its_mode_within_that_of_the_source() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let mode = |file: &Path| file.metadata().unwrap().permissions().mode() & 0o7777;
        let set = |file: &Path, mode| {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        };
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        // Usual umasks take the second and third of these away.
        for (from, before, after) in [
            (0o644, 0o600, 0o600),
            (0o666, 0o666, 0o666),
            (0o777, 0o775, 0o775),
            (0o640, 0o604, 0o600),
            (0o600, 0o777, 0o600),
            (0o200, 0o222, 0o600),
            (0o644, 0o4644, 0o644),
        ] {
            set(&source, from);
            set(&target, before);
            write_like(&source, &target, true, |_| Ok(())).unwrap();
            assert_eq!(mode(&target), after, "{from:o} {before:o}");
            set(&target, before);
            write_atomically(&target, true, |_| Ok(())).unwrap();
            assert_eq!(mode(&target), before & 0o777 | READABLE, "{before:o}");
        }
        // The link is replaced by a file with the permissions of the one that it leads to.
        fs::remove_file(&target).unwrap();
        set(&source, 0o640);
        symlink(&source, &target).unwrap();
        write_atomically(&target, true, |_| Ok(())).unwrap();
        assert!(!target.is_symlink());
        assert_eq!(mode(&target), 0o640);
        // A target that becomes private meanwhile stays private.
        write_atomically(&target, true, |_| {
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(mode(&target), 0o600);
    }

    #[test]
    fn of_many_writers_the_last_wins_and_none_fails() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let contents: Vec<_> = (0..8).map(|writer| vec![writer; 100_000]).collect();
        let write = |content: &[u8], overwrite| {
            write_atomically(&target, overwrite, |file| {
                content
                    .chunks(9999)
                    .try_for_each(|chunk| file.write_all(chunk))
                    .map_err(Error::Write)
            })
        };
        std::thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| (0..20).for_each(|_| write(content, true).unwrap()));
            }
        });
        assert!(contents.contains(&fs::read(&target).unwrap()));
        assert_eq!(names(folder.path()), ["target"]);
        // Without `overwrite`, one writer wins and all others get an error.
        fs::remove_file(&target).unwrap();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads = contents.iter().map(|content| scope.spawn(|| write(content, false)));
            threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let refused = |outcome: &&_| matches!(outcome, Err(Error::Exists(path)) if *path == target);
        assert_eq!(outcomes.iter().filter(refused).count(), contents.len() - 1);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(contents.contains(&fs::read(&target).unwrap()));
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
