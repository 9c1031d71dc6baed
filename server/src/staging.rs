//! The folder for files on their way. Each server has one of its own, with a lock; what a killed
//! server has left behind is removed by the next one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tracing::warn;

/// How the names of such folders begin.
const PREFIX: &str = "at1w-staging-";

/// The file in each of them that its server has locked.
const LOCK: &str = "lock";

/// The folder of a server, which is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: TempDir,
    _lock: File,
}

impl Staging {
    /// Makes a folder within `parent`, and removes those of servers that are no more.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        for entry in fs::read_dir(parent)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(PREFIX)
                && let Err(error) = remove_abandoned(&path)
            {
                warn!(%error, path = %path.display(), "what a killed server left behind stays");
            }
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // The lock is taken under a name that nobody looks for yet.
        let made = folder.path().join("new");
        let lock = File::create(&made)?;
        lock.lock()?;
        fs::rename(made, folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes a folder whose server is no more. One without a lock is being made at the moment, or was
/// when its server was killed: it is empty.
fn remove_abandoned(folder: &PathBuf) -> io::Result<()> {
    let lock = match File::open(folder.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => fs::remove_dir_all(folder),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_server_left_behind_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let running = Staging::new(parent.path()).unwrap();
        let killed = parent.path().join(format!("{PREFIX}killed"));
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        fs::write(killed.join("file"), "half").unwrap();
        let other = Staging::new(parent.path()).unwrap();
        assert!(!killed.exists());
        assert!(running.path().exists() && other.path() != running.path());
        drop((running, other));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
