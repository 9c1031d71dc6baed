//! Temporary files and directories beside what they are to become. Each has one name that follows
//! from its target, and is locked by the process that writes to it: so one whose process was killed
//! is known for what it is, and makes way for the next writer.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::{Error, Result};

/// How the names of all of them end.
const SUFFIX: &str = ".at1w-tmp";

/// How often others may be faster.
const ATTEMPTS: usize = 1000;

/// What is written to until it is complete. Removed with it, unless it was renamed.
pub(crate) struct Temporary {
    path: PathBuf,
    /// Holds the lock; closed after what is at `path` was removed.
    file: File,
}

/// What a temporary is: a file with the permissions that `mode` and the umask leave, or a directory
/// that nobody else may look into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File { mode: u32 },
    Directory,
}

impl Temporary {
    /// A new one in the folder of `target`, once the one of a killed process is out of the way.
    ///
    /// # Errors
    /// [`Error::Busy`] when a living process writes to `target`, and [`Error::Io`].
    pub(crate) fn new(kind: Kind, folder: &Path, target: &Path) -> Result<Self> {
        let path = folder.join(name(target.file_name().unwrap_or_default()));
        for _ in 0..ATTEMPTS {
            match kind.create(&path) {
                // Some file systems have no locks.
                Ok(file) if lock(&file).unwrap_or(true) && is_at(&file, &path) => {
                    return Ok(Self { path, file });
                }
                // Another writer took it for the one of a killed process before it was locked.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    remove_leftover(&path, target)?;
                }
                Err(error)
                    if kind == Kind::Directory && error.kind() == io::ErrorKind::NotFound =>
                {
                    // The same, before it was opened; or there is no folder to put it in.
                    folder.metadata().map_err(Error::io(folder))?;
                }
                Err(error) => return Err(Error::io(target)(error)),
            }
        }
        Err(Error::Busy { target: target.into(), temporary: path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename, that of the next writer may be there. What can't be removed now is by it.
        if is_at(&self.file, &self.path) {
            let _ = remove(&self.path);
        }
    }
}

impl Kind {
    fn create(self, path: &Path) -> io::Result<File> {
        match self {
            Self::File { mode } => {
                let mut options = File::options();
                options.write(true).create_new(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
                #[cfg(not(unix))]
                let _ = mode;
                options.open(path)
            }
            Self::Directory => {
                let mut builder = fs::DirBuilder::new();
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                builder.create(path)?;
                open(path)
            }
        }
    }
}

/// `.` and the start of the name of the target, some of the digest of all of it, `.at1w-tmp`. Not
/// the whole name: with the rest it could become too long for the file system.
fn name(target: &OsStr) -> String {
    let start: String = target.to_string_lossy().chars().take(40).collect();
    let digest = Digest::of(target.as_encoded_bytes()).to_string();
    format!(".{start}.{}{SUFFIX}", &digest[..8])
}

/// Whether a file of this name is what a killed process has left, or is being written.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(SUFFIX)
}

/// Removes what is at `path`, unless a living process holds it.
fn remove_leftover(path: &Path, target: &Path) -> Result<()> {
    let found = path.symlink_metadata().map(|found| found.is_file() || found.is_dir());
    let file = match found {
        // To open a pipe would block.
        Ok(false) => {
            let problem = "is in the way of a temporary file: remove it";
            return Err(Error::io(path)(io::Error::new(io::ErrorKind::AlreadyExists, problem)));
        }
        Ok(true) => open(path),
        Err(error) => Err(error),
    };
    let file = match file {
        // Another writer was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(Error::io(path))?,
    };
    if !lock(&file).unwrap_or(false) {
        return Err(Error::Busy { target: target.into(), temporary: path.into() });
    }
    // If it is another one by now, it is not ours to remove.
    if is_at(&file, path) { remove(path).map_err(Error::io(path)) } else { Ok(()) }
}

/// Opens a file or a directory.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(windows)]
    {
        const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
        std::os::windows::fs::OpenOptionsExt::custom_flags(
            &mut options,
            FILE_FLAG_BACKUP_SEMANTICS,
        );
    }
    options.open(path)
}

/// Locks a file, unless another process has.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// What is open can't be removed there.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Kind = Kind::File { mode: 0o666 };

    fn new(kind: Kind, folder: &Path) -> Result<Temporary> {
        Temporary::new(kind, folder, &folder.join("target"))
    }

    #[test]
    fn leftovers_make_way_and_those_in_use_stay() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, other) in [(FILE, Kind::Directory), (Kind::Directory, FILE)] {
            let temporary = new(kind, folder.path()).unwrap();
            assert!(matches!(new(kind, folder.path()), Err(Error::Busy { .. })));
            assert!(matches!(new(other, folder.path()), Err(Error::Busy { .. })));
            let path = temporary.path().to_owned();
            drop(temporary);
            assert!(!path.exists());

            // Those of a process that was killed: there, and not locked.
            fs::create_dir(&path).unwrap();
            fs::write(path.join("part"), "").unwrap();
            drop(new(kind, folder.path()).unwrap());
            fs::write(&path, "part").unwrap();
            drop(new(kind, folder.path()).unwrap());
            assert!(!path.exists());
        }
    }

    #[test]
    fn many_writers_at_once_are_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = new(FILE, folder.path()).unwrap().path().to_owned();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        // A writer that owns the name finds its own file there until it is done.
                        if let Ok(temporary) = new(FILE, folder.path()) {
                            std::thread::yield_now();
                            assert!(is_at(&temporary.file, &path));
                            fs::rename(&path, folder.path().join("target")).unwrap();
                        }
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_ours_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = new(FILE, folder.path()).unwrap().path().to_owned();
        std::os::unix::fs::symlink(folder.path(), &path).unwrap();
        assert!(new(FILE, folder.path()).is_err_and(|e| e.to_string().contains("in the way")));
        assert!(path.is_symlink());
    }

    #[test]
    fn names_differ_where_long_targets_do_and_fit() {
        let long = "n".repeat(250);
        let (a, b) = (name(format!("{long}a").as_ref()), name(format!("{long}b").as_ref()));
        assert!(a != b && a.len() < 255 && a.ends_with(".at1w-tmp"));
    }
}
