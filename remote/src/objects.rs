//! The objects of one store: a directory, or a place in a bucket.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, path,
};

use crate::error::{Error, Result};
use crate::runtime::block_on;
use crate::staged::sync_folder;

/// The number of requests that are sent side by side. With pieces of 8 MiB, at most 128 MiB are on
/// their way.
pub(crate) const SIDE_BY_SIDE: usize = 16;

/// The number of keys in one answer to a request for a list.
const PAGE: u64 = 1000;

/// The folder of a new file system, which only its administrator may read.
const LOST_FOUND: &str = "lost+found";

/// The objects of a store.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The same store, with writes that a power cut may undo where those are faster.
    unsynced: Arc<dyn ObjectStore>,
    /// The directory, where it is one.
    root: Option<PathBuf>,
    /// The place in the bucket.
    prefix: path::Path,
    /// The address, for messages.
    address: String,
    /// Where the credentials come from, for messages.
    credentials: String,
    /// The requests of each kind, and those of them that failed.
    tallies: [(AtomicU64, AtomicU64); OPS.len()],
    received: AtomicU64,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Get,
    Head,
    Put,
    Delete,
    List,
}

/// The names of the kinds of requests, in their order.
const OPS: [&str; 5] = ["get", "head", "put", "delete", "list"];

/// The number of requests of a kind, retries aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// `get`, `head`, `put`, `delete` or `list`.
    pub op: &'static str,
    /// The number that were sent.
    pub sent: u64,
    /// The number of them that failed. An object that is not there is no failure.
    pub failed: u64,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The facts that a store states about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The key within the store.
    pub key: String,
    /// The length, in bytes.
    pub len: u64,
    /// The time of the last change, by the clock of the store.
    pub modified: SystemTime,
    /// The mark that changes when the object is replaced, where the store has one.
    pub etag: Option<String>,
}

/// The outcome of making an object that must not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    Made,
    /// There is one of that name: of somebody else, or of a request of ours whose answer was lost.
    Existed,
}

impl Objects {
    /// Opens the store in a directory, which need not exist. What is written survives a power cut.
    ///
    /// # Errors
    /// [`Error::Address`] for a path that is no directory.
    pub fn in_directory(root: &Path) -> Result<Self> {
        let problem =
            |problem: String| Error::Address { address: root.display().to_string(), problem };
        if root.exists() && !root.is_dir() {
            return Err(problem("is no directory".into()));
        }
        let root = std::path::absolute(root).map_err(|error| problem(error.to_string()))?;
        let store = LocalFileSystem::new().with_fsync(true);
        let prefix = path::Path::from_absolute_path(&root);
        let prefix = prefix.map_err(|error| problem(error.to_string()))?;
        let address = root.display().to_string();
        let store = Self::new(Arc::new(store), prefix.as_ref());
        let unsynced = Arc::new(LocalFileSystem::new());
        Ok(Self { unsynced, root: Some(root), address, ..store })
    }

    /// Opens the store in any object store, under a prefix of its keys.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            address: format!("{store}"),
            unsynced: store.clone(),
            store,
            root: None,
            prefix: path::Path::parse(prefix).unwrap_or_else(|_| path::Path::from(prefix)),
            credentials: String::new(),
            tallies: Default::default(),
            received: AtomicU64::new(0),
        }
    }

    /// Says for messages what the address is, and where the credentials come from.
    pub(crate) fn described(self, address: &str, credentials: String) -> Self {
        Self { address: address.into(), credentials, ..self }
    }

    /// Returns the address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the directory, where the store is one.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Returns the number of requests that were sent so far, retries aside.
    pub fn requests(&self) -> u64 {
        self.tallies().iter().map(|tally| tally.sent).sum()
    }

    /// Returns the number of requests of each kind so far.
    pub fn tallies(&self) -> Vec<Tally> {
        let tally = |(op, (sent, failed)): (&'static str, &(AtomicU64, AtomicU64))| {
            let (sent, failed) = (sent.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
            Tally { op, sent, failed }
        };
        OPS.into_iter().zip(&self.tallies).map(tally).collect()
    }

    /// Returns the number of bytes that were received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn count(&self, op: Op, requests: u64) {
        self.tallies[op as usize].0.fetch_add(requests, Ordering::Relaxed);
    }

    pub(crate) fn path(&self, key: &str) -> path::Path {
        let full = match self.prefix.as_ref() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        };
        path::Path::parse(&full).unwrap_or_else(|_| path::Path::from(full))
    }

    /// Returns the file that an object is, where the store is a directory; `None` for a key that
    /// could lead out of it.
    pub fn file(&self, key: &str) -> Option<PathBuf> {
        let parsed = path::Path::parse(key).ok()?;
        self.root.as_ref().map(|root| root.join(parsed.as_ref()))
    }

    fn failed<'a>(&'a self, op: Op, key: &str) -> impl Fn(object_store::Error) -> Error + use<'a> {
        let object = format!("{}/{key}", self.address);
        move |error| {
            if !matches!(error, object_store::Error::NotFound { .. }) {
                self.tallies[op as usize].1.fetch_add(1, Ordering::Relaxed);
            }
            Error::of(&object, &self.credentials, error)
        }
    }

    fn run<T>(
        &self,
        op: Op,
        key: &str,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        block_on(work)?.map_err(self.failed(op, key))
    }

    /// Reads an object; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Failed`].
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.count(Op::Get, 1);
        let answer = match self.file(key) {
            Some(file) => read(&file),
            None => {
                let path = self.path(key);
                self.run(Op::Get, key, async { self.store.get(&path).await?.bytes().await })
            }
        };
        if let Ok(bytes) = &answer {
            self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        found(answer)
    }

    /// Reads several objects side by side, in their order.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        if self.root.is_some() {
            return keys.iter().map(|key| self.get(key)).collect();
        }
        self.count(Op::Get, keys.len() as u64);
        let get = |key: &String| {
            let (path, failed) = (self.path(key), self.failed(Op::Get, key));
            async move {
                let answer = async { self.store.get(&path).await?.bytes().await };
                found(answer.await.map_err(failed))
            }
        };
        let work = stream::iter(keys.iter().map(get)).buffered(SIDE_BY_SIDE).try_collect();
        let answers: Vec<Option<Bytes>> = block_on(work)??;
        let len: usize = answers.iter().flatten().map(Bytes::len).sum();
        self.received.fetch_add(len as u64, Ordering::Relaxed);
        Ok(answers)
    }

    /// Reads a range of an object by one request. An object of another `etag` is refused.
    pub(crate) async fn piece(
        &self,
        key: &str,
        etag: Option<&str>,
        range: &Range<u64>,
    ) -> Result<Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: etag.map(str::to_owned),
            ..GetOptions::default()
        };
        let asked = range.end - range.start;
        let (bytes, _) = self.get_part(key, options).await?;
        match bytes.len() as u64 {
            came if came == asked => Ok(bytes),
            came => Err(Error::Short { object: format!("{}/{key}", self.address), came, asked }),
        }
    }

    /// Reads what of an object is asked for by one request; returns it with its offset, and the
    /// facts about the object.
    pub(crate) async fn part(&self, key: &str, range: GetRange) -> Result<(u64, Bytes, Meta)> {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let (bytes, (start, meta)) = self.get_part(key, options).await?;
        Ok((start, bytes, meta))
    }

    /// Returns the facts about an object that must be there.
    pub(crate) async fn facts(&self, key: &str) -> Result<Meta> {
        self.count(Op::Head, 1);
        let path = self.path(key);
        let meta = self.store.head(&path).await.map_err(self.failed(Op::Head, key))?;
        Ok(self.meta(meta))
    }

    async fn get_part(&self, key: &str, options: GetOptions) -> Result<(Bytes, (u64, Meta))> {
        self.count(Op::Get, 1);
        let path = self.path(key);
        let answer = async {
            let answer = self.store.get_opts(&path, options).await?;
            let (start, meta) = (answer.range.start, answer.meta.clone());
            Ok((answer.bytes().await?, start, meta))
        };
        let (bytes, start, meta) = answer.await.map_err(self.failed(Op::Get, key))?;
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok((bytes, (start, self.meta(meta))))
    }

    /// Returns the facts about an object; `None` where there is none.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn head(&self, key: &str) -> Result<Option<Meta>> {
        self.count(Op::Head, 1);
        let path = self.path(key);
        let meta = found(self.run(Op::Head, key, self.store.head(&path)))?;
        Ok(meta.map(|meta| self.meta(meta)))
    }

    fn meta(&self, meta: object_store::ObjectMeta) -> Meta {
        let key = meta.location.as_ref();
        let key = match self.prefix.as_ref() {
            "" => key,
            prefix => key.strip_prefix(prefix).and_then(|key| key.strip_prefix('/')).unwrap_or(key),
        };
        let key = key.to_owned();
        Meta { key, len: meta.size, modified: meta.last_modified.into(), etag: meta.e_tag }
    }

    /// Writes an object whose name is used by nobody else.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        self.count(Op::Put, 1);
        let path = self.path(key);
        let bytes = bytes.into();
        self.run(Op::Put, key, self.store.put(&path, bytes.into())).map(drop)
    }

    /// [`Objects::put`] for an object that means nothing once this process has ended: a power cut
    /// may undo it.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn put_unsynced(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        self.count(Op::Put, 1);
        let path = self.path(key);
        let bytes = bytes.into();
        self.run(Op::Put, key, self.unsynced.put(&path, bytes.into())).map(drop)
    }

    /// Writes several objects side by side, whose names are used by nobody else.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn put_all(&self, objects: Vec<(String, Vec<u8>)>) -> Result<()> {
        self.count(Op::Put, objects.len() as u64);
        let put = |(key, bytes): (String, Vec<u8>)| {
            let (path, failed) = (self.path(&key), self.failed(Op::Put, &key));
            async move { self.store.put(&path, bytes.into()).await.map_err(failed) }
        };
        let work = stream::iter(objects.into_iter().map(put)).buffered(SIDE_BY_SIDE);
        let done: Result<Vec<_>> = block_on(work.try_collect())?;
        done.map(drop)
    }

    /// Makes an object if there is none of that name. After an error it may have been made all the
    /// same: read it back.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn create(&self, key: &str, bytes: impl Into<Bytes>) -> Result<Created> {
        self.count(Op::Put, 1);
        let path = self.path(key);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = bytes.into().into();
        let put = block_on(self.store.put_opts(&path, payload, options))?;
        match put {
            Ok(_) => Ok(Created::Made),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(Created::Existed),
            Err(error) => Err(self.failed(Op::Put, key)(error)),
        }
    }

    /// Syncs an object to disk once more, where the store is a directory.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn sync(&self, key: &str) -> Result<()> {
        let Some(file) = self.file(key) else { return Ok(()) };
        let synced = fs::File::open(&file).and_then(|file| file.sync_all());
        let done = synced.and_then(|()| file.parent().map_or(Ok(()), sync_folder));
        done.map_err(|error| unreadable(&file, &error))
    }

    pub(crate) fn multipart(&self, key: &str) -> Result<Box<dyn MultipartUpload>> {
        self.count(Op::Put, 1);
        let path = self.path(key);
        self.run(Op::Put, key, self.store.put_multipart(&path))
    }

    pub(crate) fn finish<T>(
        &self,
        key: &str,
        requests: u64,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        self.count(Op::Put, requests);
        self.run(Op::Put, key, work)
    }

    /// Deletes objects. Those that are not there are no error.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn delete(&self, keys: &[String]) -> Result<()> {
        self.count(Op::Delete, keys.len() as u64);
        let delete = |key: &String| {
            let (path, failed) = (self.path(key), self.failed(Op::Delete, key));
            async move { found(self.store.delete(&path).await.map_err(failed)).map(drop) }
        };
        let work = stream::iter(keys.iter().map(delete)).buffered(SIDE_BY_SIDE).try_collect();
        block_on(work)?
    }

    /// Lists the objects under a folder (which ends in no slash; empty for all), sorted by key.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let path = self.path(folder);
        let listed =
            self.run(Op::List, folder, self.store.list(Some(&path)).try_collect::<Vec<_>>());
        let listed = found(listed)?.unwrap_or_default();
        self.count(Op::List, (listed.len() as u64).div_ceil(PAGE).max(1));
        let mut metas: Vec<_> = listed.into_iter().map(|meta| self.meta(meta)).collect();
        metas.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(metas)
    }

    /// Lists the folders in a folder, by their names.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.count(Op::List, 1);
        let path = self.path(folder);
        let listed =
            found(self.run(Op::List, folder, self.store.list_with_delimiter(Some(&path))))?;
        let prefixes = listed.map(|listed| listed.common_prefixes).unwrap_or_default();
        let names = prefixes.iter().filter_map(|path| path.filename().map(str::to_owned));
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Whether there are no objects, nor any other files or folders in the directory. What killed
    /// writers have left does not count, nor does what a new file system has.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn is_empty(&self) -> Result<bool> {
        let Some(root) = &self.root else {
            return Ok(self.folders("")?.is_empty() && self.list("")?.is_empty());
        };
        if !root.exists() {
            return Ok(true);
        }
        let failed = |error: std::io::Error| unreadable(root, &error);
        for entry in fs::read_dir(root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name != LOST_FOUND && !is_staged(&name.to_string_lossy()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the temporary files that killed writers have left in a directory and that are older
    /// than `before`; returns their number. Removes empty folders of that age as well. In a bucket,
    /// a rule of the bucket ends unfinished uploads.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn sweep(&self, before: SystemTime) -> Result<u64> {
        let Some(root) = &self.root else { return Ok(0) };
        let failed = |path: &Path, error: std::io::Error| unreadable(path, &error);
        let mut swept = 0;
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            // Only one that is empty goes, and whoever writes into it makes it anew.
            let age = fs::metadata(&folder).and_then(|meta| meta.modified());
            if folder != *root
                && age.is_ok_and(|age| age <= before)
                && fs::remove_dir(&folder).is_ok()
            {
                continue;
            }
            let entries = match fs::read_dir(&folder) {
                // Another one has swept it.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| failed(&folder, error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed(&folder, error))?;
                let (path, name) = (entry.path(), entry.file_name());
                // Others may remove what is listed here.
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    folders.extend((name != LOST_FOUND).then_some(path));
                } else if is_staged(&name.to_string_lossy())
                    && meta.modified().is_ok_and(|modified| modified <= before)
                    && fs::remove_file(&path).is_ok()
                {
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }
}

/// Reads a file of a directory, by no other thread.
fn read(file: &Path) -> Result<Bytes> {
    fs::read(file).map(Bytes::from).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Error::NotFound(file.display().to_string())
        }
        _ => unreadable(file, &error),
    })
}

fn unreadable(folder: &Path, error: &std::io::Error) -> Error {
    Error::Failed { object: folder.display().to_string(), cause: error.to_string() }
}

/// Whether a file is one that is still written: `object_store` ends their names in `#` and a
/// number.
fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map_or("", |(_, number)| number);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_what_is_left_behind_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_directory(folder.path()).unwrap();
        for key in ["packs/a", "leases/x/0"] {
            objects.put(key, "1").unwrap();
        }
        fs::write(folder.path().join("packs/b#1"), "1").unwrap();
        objects.delete(&["leases/x/0".into()]).unwrap();
        assert_eq!(objects.sweep(SystemTime::UNIX_EPOCH).unwrap(), 0);
        assert!(folder.path().join("leases/x").exists());
        assert_eq!(objects.sweep(SystemTime::now()).unwrap(), 1);
        assert!(!folder.path().join("leases/x").exists());
        objects.put("leases/x/1", "1").unwrap();
        let listed = objects.list("").unwrap();
        let keys: Vec<_> = listed.iter().map(|meta| meta.key.as_str()).collect();
        assert_eq!(keys, ["leases/x/1", "packs/a"]);
    }

    #[test]
    fn no_key_leads_out_of_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_directory(folder.path()).unwrap();
        assert_eq!(objects.file("packs/a"), Some(folder.path().join("packs/a")));
        for key in ["../secret", "packs/../../secret", "packs/.", "packs//a"] {
            assert_eq!(objects.file(key), None, "{key}");
        }
        assert!(objects.file("/etc/passwd").is_none_or(|file| file.starts_with(folder.path())));
    }
}
