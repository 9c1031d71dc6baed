//! Whole files that were read before, on this disk: by their content, within a bound, shared by all
//! processes of a user. Nothing here is believed: whoever reads a file checks it against its key.

use std::env;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::ranges::union;

/// The size of all files together above which those go that were not used for longest, in bytes.
const SIZE: u64 = 50_000_000_000;

/// The time after which an unfinished file is one that a killed process has left.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// The names of unfinished files begin with this.
const UNFINISHED: &str = ".unfinished-";

/// A folder of whole files.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    size: u64,
}

/// A file of a cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CachedFile {
    /// The name of its content.
    pub key: String,
    /// The length, in bytes.
    pub len: u64,
    /// The time when it was used last.
    pub used: SystemTime,
}

impl Cache {
    /// Returns the cache of this user: the folder that `AT1W_CACHE` names, or `at1w` where caches
    /// are; `None` where it is `off`. `AT1W_CACHE_SIZE` bounds it, in bytes (default 50 GB).
    ///
    /// # Errors
    /// [`Error::Address`] where the bound is no number of bytes.
    pub fn of_user() -> Result<Option<Self>> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let folder = match set("AT1W_CACHE") {
            Some(off) if off == "off" => return Ok(None),
            Some(folder) => folder.into(),
            None => {
                let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
                let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
                let Some(cache) = cache else { return Ok(None) };
                cache.join("at1w")
            }
        };
        let size = match set("AT1W_CACHE_SIZE") {
            None => SIZE,
            Some(size) => size.to_str().and_then(|size| size.parse().ok()).ok_or_else(|| {
                let problem = "is the bound on copies, a number of bytes".into();
                Error::Address { address: "AT1W_CACHE_SIZE".into(), problem }
            })?,
        };
        Ok(Some(Self::at(folder, size)))
    }

    /// Returns the cache in a folder, which need not exist, with at most `size` bytes.
    pub fn at(folder: impl Into<PathBuf>, size: u64) -> Self {
        Self { folder: folder.into(), size }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the file with this content, and counts it as used where the folder may be changed.
    pub fn open(&self, key: &str) -> Option<File> {
        let path = self.path(key)?;
        let Ok(file) = File::options().read(true).write(true).open(&path) else {
            return File::open(path).ok();
        };
        // Best effort: it only goes a little earlier.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// Returns the path of the file with this content.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then(|| self.folder.join(key))
    }

    /// Removes the file with this content, such as one that turned out to be damaged; says whether
    /// there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.path(key).is_some_and(|path| fs::remove_file(path).is_ok())
    }

    /// Lists the files, those first that were used last.
    ///
    /// # Errors
    /// Those of the file system; none where there is no folder.
    pub fn list(&self) -> io::Result<Vec<CachedFile>> {
        let mut files = self.entries()?;
        files.retain(|file| self.path(&file.key).is_some());
        Ok(files)
    }

    /// Lists the files that are not whole: some process fetches them, or was killed meanwhile.
    ///
    /// # Errors
    /// Those of the file system; none where there is no folder.
    pub fn unfinished(&self) -> io::Result<Vec<CachedFile>> {
        let mut files = self.entries()?;
        files.retain(|file| file.key.starts_with(UNFINISHED));
        Ok(files)
    }

    /// Lists all files of the folder by their names, those first that were written or used last.
    fn entries(&self) -> io::Result<Vec<CachedFile>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Another process may remove what is listed here.
            let (Ok(meta), Ok(key)) = (entry.metadata(), entry.file_name().into_string()) else {
                continue;
            };
            if meta.is_file() {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(CachedFile { key, len: meta.len(), used });
            }
        }
        files.sort_by_key(|file| std::cmp::Reverse(file.used));
        Ok(files)
    }

    /// Removes all files, and what killed processes have left.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn clear(&self) -> io::Result<Vec<CachedFile>> {
        let files = self.list()?;
        for file in &files {
            match self.path(&file.key).map(fs::remove_file) {
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.sweep();
        Ok(files)
    }

    /// Removes the files that were not used for longest, until those that are not whole fit.
    fn make_room(&self) -> io::Result<()> {
        self.sweep();
        let unfinished = self.unfinished()?;
        let mut total = unfinished.iter().fold(0_u64, |sum, file| sum.saturating_add(file.len));
        for file in self.list()? {
            total = total.saturating_add(file.len);
            if total > self.size {
                self.remove(&file.key);
            }
        }
        Ok(())
    }

    /// Removes what killed processes have left.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            let modified = entry.metadata().and_then(|meta| meta.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            if unfinished && age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Begins a file of `len` bytes; `None` where it does not fit, or the folder takes none.
    pub(crate) fn begin(&self, len: u64) -> Option<Unfinished> {
        if len == 0 || len > self.size {
            return None;
        }
        fs::create_dir_all(&self.folder).ok()?;
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder).ok()?;
        let state = State { file: Some(file), key: None, done: Vec::new() };
        Some(Unfinished { cache: self.clone(), len, state: Mutex::new(state) })
    }
}

/// A file that gets its name when all of it was read. One that is dropped before leaves nothing.
#[derive(Debug)]
pub(crate) struct Unfinished {
    cache: Cache,
    len: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once it is finished, or could not be written.
    file: Option<NamedTempFile>,
    key: Option<String>,
    /// The ranges that were written.
    done: Vec<Range<u64>>,
}

impl Unfinished {
    /// Says what the content is; without a key, nothing is kept of it.
    pub(crate) fn set_key(&self, key: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.key = key.map(str::to_owned);
        match key {
            Some(_) => self.finish(&mut state),
            None => state.file = None,
        }
    }

    /// Keeps bytes that were read. A disk that is full ends the keeping, not the reading.
    pub(crate) fn keep(&self, start: u64, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &state.file else { return };
        if write_at(file.as_file(), bytes, start).is_err() {
            state.file = None;
            return;
        }
        state.done.push(start..start + bytes.len() as u64);
        state.done = union(&state.done);
        self.finish(&mut state);
    }

    fn finish(&self, state: &mut State) {
        let State { key: Some(key), done, .. } = &*state else { return };
        if !matches!(&done[..], [all] if *all == (0..self.len)) {
            return;
        }
        let Some(path) = self.cache.path(key) else { return };
        let Some(file) = state.file.take() else { return };
        // What cannot be kept is read from its server the next time.
        if self.cache.make_room().is_ok() && file.as_file().sync_all().is_ok() {
            let _ = file.persist(path);
        }
    }
}

fn write_at(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    use std::io::{Seek, Write};

    let mut file = file;
    file.seek(io::SeekFrom::Start(start))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(cache: &Cache, key: &str, len: u64) {
        let file = cache.begin(len).unwrap();
        file.set_key(Some(key));
        file.keep(len / 2, &vec![1; (len - len / 2) as usize]);
        assert!(cache.open(key).is_none(), "not before all of it is there");
        file.keep(0, &vec![0; (len / 2) as usize]);
        let _ = cache.open(key).map(|file| file.set_modified(SystemTime::now()));
    }

    #[test]
    fn files_appear_whole_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"), 1000);
        assert!(cache.list().unwrap().is_empty() && cache.clear().unwrap().is_empty());
        keep(&cache, "a", 400);
        keep(&cache, "b", 400);
        let old = SystemTime::now() - Duration::from_secs(100);
        cache.open("b").unwrap().set_modified(old).unwrap();
        keep(&cache, "c", 500);
        let keys: Vec<_> = cache.list().unwrap().into_iter().map(|file| file.key).collect();
        assert_eq!(keys.len(), 2);
        assert!(!keys.contains(&"b".into()), "{keys:?}");
        assert!(cache.begin(1001).is_none());
        // One that is not finished, or has no key, leaves nothing.
        let unfinished = cache.begin(10).unwrap();
        unfinished.keep(0, &[1; 7]);
        assert_eq!(cache.unfinished().unwrap()[0].len, 7);
        drop(unfinished);
        assert!(cache.unfinished().unwrap().is_empty());
        cache.begin(10).unwrap().set_key(None);
        assert_eq!(fs::read_dir(cache.folder()).unwrap().count(), 2);
        assert!(cache.path("../a").is_none());
        assert!(cache.remove("a") && !cache.remove("a"));
        assert_eq!(cache.clear().unwrap().len(), 1);
    }
}
