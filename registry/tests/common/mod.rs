//! Parts of the tests: models, stores in directories, and stores that fail or wait at any request.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::future::ready;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use at1w_registry::{CollectOptions, PullOptions, PushOptions, Pushed, Revision, Store, Times};
use at1w_remote::Objects;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tempfile::TempDir;

/// A request to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get,
    Put,
    Upload,
    Delete,
    List,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// Nothing is done, and an error comes.
    Refused,
    /// All is done, and an error comes: the answer is lost.
    Lost,
    /// A list shows nothing of what came within the last minute. A put is done when [`Late`] lands,
    /// and an error comes.
    Late,
}

pub type Hook = Box<dyn Fn(Op, &str) -> Fate + Send + Sync>;

/// A put that is not done yet.
type Put = (Arc<dyn ObjectStore>, Key, PutPayload, PutOptions);

/// Puts that are on their way for long.
#[derive(Clone, Default)]
pub struct Late(Arc<Mutex<Vec<Put>>>);

impl Late {
    /// Does them.
    pub fn land(&self) {
        for (store, key, bytes, options) in self.0.lock().unwrap().drain(..) {
            let _ = futures_executor::block_on(store.put_opts(&key, bytes, options));
        }
    }
}

/// A store whose requests pass by a hook, and whose clock is so many seconds ahead.
pub struct Hooked {
    inner: Arc<dyn ObjectStore>,
    hook: Hook,
    ahead: Arc<AtomicU64>,
    late: Late,
}

impl Hooked {
    pub fn objects(root: &Path, hook: Hook) -> Arc<Objects> {
        Self::delayed(root, hook, &Late::default())
    }

    /// Objects with puts that are on their way for long.
    pub fn delayed(root: &Path, hook: Hook, late: &Late) -> Arc<Objects> {
        fs::create_dir_all(root).unwrap();
        let inner = Arc::new(LocalFileSystem::new_with_prefix(root).unwrap());
        let (ahead, late) = (Arc::default(), late.clone());
        Arc::new(Objects::new(Arc::new(Self { inner, hook, ahead, late }), ""))
    }

    /// A store in memory, with a clock that can be set.
    pub fn clocked(ahead: &Arc<AtomicU64>) -> Arc<Objects> {
        let hook = Box::new(|_, _: &str| Fate::Answered);
        Self::over(Arc::new(InMemory::new()), hook, ahead.clone())
    }

    pub fn over(inner: Arc<dyn ObjectStore>, hook: Hook, ahead: Arc<AtomicU64>) -> Arc<Objects> {
        let late = Late::default();
        Arc::new(Objects::new(Arc::new(Self { inner, hook, ahead, late }), ""))
    }

    /// Returns what tells the time of an object by the clock of the store.
    fn clock(&self) -> impl Fn(ObjectMeta) -> ObjectMeta + Send + use<> {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        move |meta| ObjectMeta { last_modified: meta.last_modified + ahead, ..meta }
    }

    fn before(&self, op: Op, key: &Key) -> Result<Fate> {
        match (self.hook)(op, key.as_ref()) {
            Fate::Refused => Err(error("refused")),
            fate => Ok(fate),
        }
    }
}

/// Whether an object was not made within the last minute.
fn is_old(meta: &Result<ObjectMeta>) -> bool {
    let time = meta.as_ref().ok().map(|meta| std::time::SystemTime::from(meta.last_modified));
    time.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > Duration::from_secs(60))
}

fn error(what: &str) -> object_store::Error {
    object_store::Error::Generic { store: "test", source: what.into() }
}

fn after<T>(fate: Fate, done: T) -> Result<T> {
    if fate == Fate::Lost { Err(error("the answer was lost")) } else { Ok(done) }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl fmt::Display for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hooked")
    }
}

#[async_trait]
impl ObjectStore for Hooked {
    async fn put_opts(
        &self,
        key: &Key,
        bytes: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.before(Op::Put, key)?;
        if fate == Fate::Late {
            let put = (self.inner.clone(), key.clone(), bytes, options);
            self.late.0.lock().unwrap().push(put);
            return Err(error("the request is on its way"));
        }
        after(fate, self.inner.put_opts(key, bytes, options).await?)
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fate = self.before(Op::Upload, key)?;
        after(fate, self.inner.put_multipart_opts(key, options).await?)
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let fate = self.before(Op::Get, key)?;
        let found = self.inner.get_opts(key, options).await?;
        let meta = self.clock()(found.meta.clone());
        after(fate, GetResult { meta, ..found })
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let fate = self.before(Op::Get, key)?;
        after(fate, self.inner.get_ranges(key, ranges).await?)
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        let keys: Vec<_> = futures_executor::block_on(keys.collect());
        let mut passed: Vec<Result<Key>> = Vec::new();
        for key in keys.into_iter().flatten() {
            match self.before(Op::Delete, &key) {
                Ok(_) => passed.push(Ok(key)),
                Err(error) => return stream::iter([Err(error)]).boxed(),
            }
        }
        self.inner.delete_stream(stream::iter(passed).boxed())
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.before(Op::List, prefix.unwrap_or(&Key::default())) {
            Ok(Fate::Late) => self.inner.list(prefix).filter(|meta| ready(is_old(meta))).boxed(),
            Ok(_) => {
                let clock = self.clock();
                self.inner.list(prefix).map(move |meta| meta.map(&clock)).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        let fate = self.before(Op::List, prefix.unwrap_or(&Key::default()))?;
        after(fate, self.inner.list_with_delimiter(prefix).await?)
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A folder with a store in it, and models to push.
pub struct Place {
    pub folder: TempDir,
    pub times: Times,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), times: Times::default() }
    }

    /// A place whose pushes are given up after a short time.
    pub fn short(lease: Duration) -> Self {
        Self { times: Times::default().lease(lease), ..Self::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("store")
    }

    /// The store, without the waits of `fsync`.
    pub fn store(&self) -> Store {
        self.hooked(Box::new(|_, _| Fate::Answered))
    }

    /// The store as users open it.
    pub fn real(&self) -> Store {
        Store::open(&self.root().to_string_lossy()).unwrap().times(self.times)
    }

    pub fn hooked(&self, hook: Hook) -> Store {
        self.delayed(hook, &Late::default())
    }

    /// A store with puts that are on their way for long.
    pub fn delayed(&self, hook: Hook, late: &Late) -> Store {
        Store::new(Hooked::delayed(&self.root(), hook, late)).times(self.times)
    }

    /// Has the collector give up on all who hold a lease.
    pub fn give_up(&self) {
        self.age("leases", 4 * self.times.lease.as_secs().max(1));
        self.store().collect(&CollectOptions::new().grace(Duration::ZERO)).unwrap();
    }

    /// Writes files into a folder, which holds nothing else then.
    pub fn source(&self, name: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
        let folder = self.path(name);
        let _ = fs::remove_dir_all(&folder);
        for (path, bytes) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    pub fn push(&self, repo: &str, files: &[(&str, Vec<u8>)]) -> Pushed {
        let source = self.source("source", files);
        self.store().push(&source, &repo.parse().unwrap(), &PushOptions::new()).unwrap()
    }

    /// The files of a revision.
    pub fn pulled(&self, revision: &str) -> at1w_registry::Result<BTreeMap<String, Vec<u8>>> {
        let target = tempfile::tempdir_in(self.folder.path()).unwrap();
        let revision: Revision = revision.parse().unwrap();
        self.store().pull(&revision, target.path(), &PullOptions::new())?;
        Ok(files(target.path()))
    }

    /// Makes the objects in a folder older.
    pub fn age(&self, folder: &str, seconds: u64) {
        let time = std::time::SystemTime::now() - Duration::from_secs(seconds);
        for key in self.keys(folder) {
            let file = fs::File::options().write(true).open(self.root().join(key)).unwrap();
            file.set_modified(time).unwrap();
        }
    }

    /// All keys of a kind of objects.
    pub fn keys(&self, folder: &str) -> Vec<String> {
        files(&self.root()).into_keys().filter(|key| key.starts_with(folder)).collect()
    }
}

/// The files under a directory.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).into_iter().flatten() {
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            match fs::read(entry.path()) {
                Ok(bytes) => _ = all.insert(path, bytes),
                // It was on its way, and is in its place by now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{path}: {error}"),
            }
        }
    }
    all
}

pub fn owned(files: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect()
}

/// Random numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// What is added to a seed for that of a tensor which differs from the one of the seed in a little,
/// as one that was trained further does.
pub const LATER: u64 = 1 << 40;

/// A tensor of bfloat16 like weights: one for each `seed`.
pub fn tensor(seed: u64, elements: usize) -> Vec<u8> {
    if let Some(times) = (seed / LATER).checked_sub(1) {
        let (mut bytes, mut random) = (tensor(seed % LATER, elements), Random(times * 2 + 1));
        for word in bytes.chunks_exact_mut(2).filter(|_| random.below(8) == 0) {
            word[0] ^= 1;
        }
        return bytes;
    }
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let element = |_| {
        let bits = random.next();
        let exponent = 118 + (bits & 7) as u16;
        let value = (((bits >> 8) as u16) & 0x807f) | exponent << 7;
        value.to_le_bytes()
    };
    (0..elements).flat_map(element).collect()
}

/// A safetensors file of tensors, each by name and seed.
pub fn model(tensors: &[(&str, u64, usize)], metadata: &str) -> Vec<u8> {
    let data: Vec<_> = tensors.iter().map(|&(_, seed, elements)| tensor(seed, elements)).collect();
    let views = tensors.iter().zip(&data).map(|(&(name, _, elements), data)| {
        let dtype = safetensors::Dtype::BF16;
        (
            name.to_owned(),
            safetensors::tensor::TensorView::new(dtype, vec![elements], data).unwrap(),
        )
    });
    let metadata = [("about".to_owned(), metadata.to_owned())].into();
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// A stored entry of a log in which a text is another one, with the SHA-256 that belongs to it.
pub fn forged(entry: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let text = std::str::from_utf8(entry).unwrap();
    let end = text.rfind(",\"sum\":").unwrap();
    let mut json = format!("{}}}", &text[..end]);
    for (from, to) in changes {
        assert!(json.contains(from), "{from} {json}");
        json = json.replace(from, to);
    }
    let sum = at1w_container::Digest::of(json.as_bytes());
    format!("{},\"sum\":\"{sum}\"}}", &json[..json.len() - 1]).into_bytes()
}

/// Writes a recipe anew, with other JSON.
pub fn forge(path: &Path, change: impl Fn(&mut serde_json::Value)) {
    let bytes = fs::read(path).unwrap();
    let plain = miniz_oxide::inflate::decompress_to_vec(&bytes[8..bytes.len() - 32]).unwrap();
    let end = plain.iter().position(|&byte| byte == b'\n').unwrap();
    let mut json = serde_json::from_slice(&plain[..end]).unwrap();
    change(&mut json);
    let plain = [json.to_string().as_bytes(), &plain[end..]].concat();
    let mut bytes = (plain.len() as u64).to_le_bytes().to_vec();
    bytes.extend(miniz_oxide::deflate::compress_to_vec(&plain, 8));
    bytes.extend(at1w_container::Digest::of(&bytes).0);
    fs::write(path, bytes).unwrap();
}

/// A hook that fails the requests whose numbers are named.
pub fn failing(fates: BTreeMap<usize, Fate>) -> Hook {
    let count = Mutex::new(0);
    Box::new(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        fates.get(&*count).copied().unwrap_or(Fate::Answered)
    })
}

/// A hook that runs `work` on another thread, and waits for it, before the first request of a kind.
pub fn once(op: Op, folder: &'static str, work: impl Fn() + Send + Sync + 'static) -> Hook {
    let (done, work) = (AtomicBool::new(false), Arc::new(work));
    Box::new(move |found, key| {
        if found == op && key.starts_with(folder) && !done.swap(true, Ordering::SeqCst) {
            let work = work.clone();
            thread::spawn(move || work()).join().unwrap();
        }
        Fate::Answered
    })
}
