//! Temporary files and directories beside their targets. Each writer makes one of its own, whose
//! name tells the target and the process, and locks it while it writes. So the next writer knows
//! the leftovers of killed processes, and removes them.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use walkdir::WalkDir;

use super::owner::{Owner, State};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The end of the names of all temporaries.
const SUFFIX: &str = ".at1w-tmp";

/// The number of times that a writer starts again after another one took its new temporary for a
/// leftover.
const ATTEMPTS: usize = 1000;

/// The time that a temporary must have been left alone before it counts as a leftover merely
/// because its lock is free. A temporary may be too new to be locked, and some file systems hide
/// locks from other hosts.
const UNLOCKED: Duration = Duration::from_secs(60 * 60);

/// The same for a temporary of another host where there are no locks.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A file or a directory that is written to until it is complete. Removed when this is dropped,
/// unless it was renamed.
pub(crate) struct Temporary {
    path: PathBuf,
    /// Holds the lock; closed after what is at `path` was removed.
    file: File,
}

/// The kind of a temporary: a file with the permissions that `mode` and the umask leave, or a
/// directory that nobody else may look into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File { mode: u32 },
    Directory,
}

/// The outcome of trying to lock a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// The lock was free, and is ours now.
    Free,
    /// A process holds the lock.
    Held,
    /// There are no locks here, or the file can't be opened for one.
    Unknown,
}

impl Temporary {
    /// Makes a new temporary in `folder`, where `target` is to be, and removes the leftovers of
    /// killed processes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn new(kind: Kind, folder: &Path, target: &Path) -> Result<Self> {
        let start = start(target.file_name().unwrap_or_default());
        for _ in 0..ATTEMPTS {
            match kind.create_in(folder, &start) {
                Ok((file, path)) => {
                    let temporary = Self { path, file };
                    // If not, another writer took it for a leftover before it was locked.
                    if lock(&temporary.file) != Lock::Held && temporary.is_there() {
                        temporary.remove_leftovers(folder, &start, lock);
                        return Ok(temporary);
                    }
                }
                Err(error)
                    if kind == Kind::Directory && error.kind() == io::ErrorKind::NotFound =>
                {
                    // Another writer removed it before it was opened, or there is no folder.
                    folder.metadata().map_err(Error::io(folder))?;
                }
                Err(error) => return Err(Error::io(target)(error)),
            }
        }
        let problem = "other writers took every temporary file for a leftover";
        Err(Error::io(target)(io::Error::new(io::ErrorKind::ResourceBusy, problem)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    #[cfg(unix)]
    fn is_there(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), self.path.symlink_metadata()) {
            (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
            _ => false,
        }
    }

    /// An open file can't be removed on such systems.
    #[cfg(not(unix))]
    fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Removes the leftovers of killed processes whose names begin with `start`. A leftover that
    /// can't be removed stays: the writer does not need its place.
    fn remove_leftovers(&self, folder: &Path, start: &str, lock: fn(&File) -> Lock) {
        // A directory that is a temporary itself is new, and has no leftovers. A repository of many
        // files is not listed for each of them.
        if folder.iter().filter_map(OsStr::to_str).any(is_temporary) {
            return;
        }
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(start)) else { continue };
            // Opening a pipe would block.
            let ours = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir());
            let path = entry.path();
            if is_temporary(name) && ours && Some(OsStr::new(name)) != self.path.file_name() {
                // The lock is held until it is removed.
                let file = open(&path);
                let lock = file.as_ref().map_or(Lock::Unknown, lock);
                if self.is_leftover(&path, owner(name, start), lock) {
                    let _ = remove(&path);
                }
            }
        }
    }

    /// Whether no living process writes to a temporary. Names are never used again, so that a
    /// leftover is not mistaken for a later temporary.
    fn is_leftover(&self, path: &Path, owner: Option<Owner>, lock: Lock) -> bool {
        match (lock, owner.map_or(State::Elsewhere, |owner| owner.state())) {
            (Lock::Held, _) | (Lock::Unknown, State::Alive) => false,
            (Lock::Free | Lock::Unknown, State::Gone) => true,
            // A later process may have the same number.
            (Lock::Free, State::Alive | State::Elsewhere) => self.is_newer_by(UNLOCKED, path),
            (Lock::Unknown, State::Elsewhere) => self.is_newer_by(ABANDONED, path),
        }
    }

    /// Whether this temporary, which is new, was made `time` after the last change at `path`. Both
    /// times are of the clock of the file system: the clock of this host may differ.
    fn is_newer_by(&self, time: Duration, path: &Path) -> bool {
        let made = self.file.metadata().and_then(|metadata| metadata.modified());
        let age = made.ok().zip(last_change(path)).and_then(|(a, b)| a.duration_since(b).ok());
        age.is_some_and(|age| age >= time)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is gone after a rename. If it can't be removed now, the next writer removes it.
        let _ = remove(&self.path);
    }
}

impl Kind {
    fn create_in(self, folder: &Path, start: &str) -> io::Result<(File, PathBuf)> {
        let start = format!("{start}{}-", Owner::current());
        let mut names = tempfile::Builder::new();
        names.prefix(&start).suffix(SUFFIX).rand_bytes(8).disable_cleanup(true);
        let (file, path) = names.make_in(folder, |path| self.create(path))?.into_parts();
        Ok((file, path.to_path_buf()))
    }

    fn create(self, path: &Path) -> io::Result<File> {
        match self {
            Self::File { mode } => {
                let mut options = File::options();
                options.read(true).write(true).create_new(true);
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

/// Returns the start of the names of the temporaries of a target: `.`, the start of its name, and
/// some of the digest of its whole name. The whole name could be too long for the file system.
fn start(target: &OsStr) -> String {
    let start: String = target.to_string_lossy().chars().take(40).collect();
    let digest = Digest::of(target.as_encoded_bytes()).to_string();
    format!(".{start}.{}.", &digest[..8])
}

/// Returns the process that a name tells of.
fn owner(name: &str, start: &str) -> Option<Owner> {
    name.strip_suffix(SUFFIX)?.strip_prefix(start).and_then(Owner::parse)
}

/// Whether a name is that of a temporary, which is being written or was left by a killed process.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(SUFFIX)
}

/// Removes the temporary at `path` if its process was one of this host and has ended. Returns
/// whether it did.
pub(crate) fn remove_if_left(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let owner = name.strip_suffix(SUFFIX).and_then(|name| name.rsplit('.').next());
    let gone = owner.and_then(Owner::parse).is_some_and(|owner| owner.state() == State::Gone);
    // The lock is held until it is removed.
    let file = open(path);
    let lock = file.as_ref().map_or(Lock::Unknown, lock);
    gone && lock != Lock::Held && remove(path).is_ok()
}

/// Opens a file or a directory so that it can be locked. Where a server keeps the locks, a file
/// must be open for writing.
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
    // Directories, and files without the permission, can't be opened for writing.
    options.clone().write(true).open(path).or_else(|_| options.open(path))
}

/// Locks a file, unless another process has.
fn lock(file: &File) -> Lock {
    match file.try_lock() {
        Ok(()) => Lock::Free,
        Err(TryLockError::WouldBlock) => Lock::Held,
        Err(TryLockError::Error(_)) => Lock::Unknown,
    }
}

/// Keeps other writers of a whole directory away until it is dropped. Where there are no locks,
/// nobody is kept away.
pub(crate) struct Claim {
    _locked: File,
}

impl Claim {
    /// Claims `directory`.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has claimed it, [`Error::Io`].
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let file = open(directory).map_err(Error::io(directory))?;
        if lock(&file) == Lock::Held {
            return Err(Error::Busy(directory.into()));
        }
        Ok(Self { _locked: file })
    }
}

/// Returns the time when the file at `path`, or any file within, was last written to.
fn last_change(path: &Path) -> Option<SystemTime> {
    let entries = WalkDir::new(path).into_iter().filter_map(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Kind = Kind::File { mode: 0o666 };

    fn new(kind: Kind, folder: &Path) -> Temporary {
        Temporary::new(kind, folder, &folder.join("target")).unwrap()
    }

    /// Makes a temporary that nobody locks, as one of `owner`; a directory with a file within.
    fn leftover(kind: Kind, folder: &Path, owner: &str) -> PathBuf {
        let start = start("target".as_ref());
        // The suffix has the dot that is after no owner.
        let name = format!("{start}{owner}");
        let path = folder.join(name.trim_end_matches('.').to_owned() + SUFFIX);
        kind.create(&path).unwrap();
        if kind == Kind::Directory {
            fs::write(path.join("part"), "part").unwrap();
        }
        path
    }

    /// Sets the times of the file at `path`, and of files within, back by `age`.
    fn set_age(path: &Path, age: Duration) {
        let entries: Vec<_> = WalkDir::new(path).into_iter().map(Result::unwrap).collect();
        for entry in entries {
            let file = File::open(entry.path()).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
    }

    #[test]
    fn each_writer_has_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let kinds = [FILE, Kind::Directory, FILE, Kind::Directory];
        let all = kinds.map(|kind| new(kind, folder.path()));
        for temporary in &all {
            assert!(temporary.is_there());
        }
        drop(all);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_process_of_this_host_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let name = |owner: Owner| format!("{owner}-a1B2");
        let dead = leftover(FILE, folder.path(), &name(Owner::here(0)));
        let living = leftover(FILE, folder.path(), &name(Owner::here(1)));
        let elsewhere = leftover(Kind::Directory, folder.path(), &name(Owner::elsewhere()));
        assert_eq!(
            [&dead, &living, &elsewhere].map(|path| remove_if_left(path)),
            [true, false, false]
        );
        assert!(!dead.exists() && living.exists() && elsewhere.exists());
    }

    #[test]
    fn lock_process_and_age_tell_what_is_left_over() {
        const MINUTE: Duration = Duration::from_secs(60);
        let folder = tempfile::tempdir().unwrap();
        let start = start("target".as_ref());
        let (alive, gone) = (Owner::current(), Owner::here(u32::MAX));
        let (alive, gone) = (format!("{alive}-"), format!("{gone}-"));
        let elsewhere = format!("{}-", Owner::elsewhere());
        // On systems where processes can't be looked for, every process counts as elsewhere.
        let can_look = cfg!(unix);
        // Earlier versions told nothing of the process.
        let nobody = "";
        let without_locks: fn(&File) -> Lock = |_| Lock::Unknown;
        for (lock, owner, age, removed) in [
            (lock as fn(&File) -> Lock, &*gone, Duration::ZERO, can_look),
            (lock, &alive, UNLOCKED - MINUTE, false),
            (lock, &alive, UNLOCKED + MINUTE, true),
            (lock, &elsewhere, UNLOCKED - MINUTE, false),
            (lock, &elsewhere, UNLOCKED + MINUTE, true),
            (lock, nobody, UNLOCKED - MINUTE, false),
            (lock, nobody, UNLOCKED + MINUTE, true),
            (without_locks, &gone, Duration::ZERO, can_look),
            (without_locks, &alive, 2 * ABANDONED, !can_look),
            (without_locks, &elsewhere, ABANDONED - MINUTE, false),
            (without_locks, &elsewhere, ABANDONED + MINUTE, true),
            (without_locks, nobody, ABANDONED - MINUTE, false),
            (without_locks, nobody, ABANDONED + MINUTE, true),
            (without_locks, &elsewhere, Duration::ZERO, false),
        ] {
            for kind in [FILE, Kind::Directory] {
                let left = leftover(kind, folder.path(), owner);
                set_age(&left, age);
                let (file, path) = kind.create_in(folder.path(), &start).unwrap();
                let new = Temporary { path, file };
                new.remove_leftovers(folder.path(), &start, lock);
                assert!(new.is_there());
                assert_eq!(left.exists(), !removed, "{owner} {age:?}");
                if left.exists() {
                    remove(&left).unwrap();
                }
            }
        }
    }

    #[test]
    fn locked_ones_stay_however_old() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [FILE, Kind::Directory] {
            for owner in [Owner::current(), Owner::elsewhere(), Owner::here(u32::MAX)] {
                let path = leftover(kind, folder.path(), &format!("{owner}-locked"));
                set_age(&path, 2 * ABANDONED);
                let file = open(&path).unwrap();
                assert!(lock(&file) == Lock::Free);
                drop(new(kind, folder.path()));
                assert!(path.exists());
                drop(file);
                drop(new(kind, folder.path()));
                assert!(!path.exists());
            }
        }
    }

    #[test]
    fn a_directory_is_as_old_as_what_is_within() {
        let folder = tempfile::tempdir().unwrap();
        let path = leftover(Kind::Directory, folder.path(), "elsewhere-1-");
        set_age(&path, 2 * ABANDONED);
        fs::write(path.join("part"), "more").unwrap();
        drop(new(FILE, folder.path()));
        assert!(path.exists());
    }

    #[test]
    fn leftovers_of_other_targets_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = leftover(FILE, folder.path(), &format!("{}-", Owner::here(u32::MAX)));
        drop(Temporary::new(FILE, folder.path(), &folder.path().join("another")).unwrap());
        assert!(path.exists());
    }

    #[test]
    fn many_writers_at_once_keep_their_temporaries() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for kind in [FILE, Kind::Directory].repeat(4) {
                let folder = folder.path();
                scope.spawn(move || {
                    for i in 0..100 {
                        let temporary = new(kind, folder);
                        std::thread::yield_now();
                        assert!(temporary.is_there());
                        if kind == FILE && i % 2 == 0 {
                            fs::rename(&temporary.path, folder.join("target")).unwrap();
                        }
                    }
                });
            }
        });
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert!(left.len() == 1 && left[0].file_name() == "target", "{left:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_ours_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = leftover(FILE, folder.path(), &Owner::here(u32::MAX).to_string());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path(), &path).unwrap();
        drop(new(FILE, folder.path()));
        assert!(path.is_symlink());
    }

    #[test]
    fn names_differ_where_long_targets_do_and_fit() {
        let folder = tempfile::tempdir().unwrap();
        let long = "\u{1f40b}".repeat(60);
        let (a, b) = (format!("{long}a"), format!("{long}b"));
        assert_ne!(start(a.as_ref()), start(b.as_ref()));
        let made = Temporary::new(FILE, folder.path(), &folder.path().join(a)).unwrap();
        let name = made.path.file_name().unwrap().to_str().unwrap();
        assert!(is_temporary(name) && name.len() <= 255 - "-4294967295".len());
    }
}
