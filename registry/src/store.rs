//! A store: where it is, and what is in it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use at1w_container::{Limits, OpenOptions, ReadAt, Reader, Weights};
use at1w_remote::{Created, Objects};
use serde::{Deserialize, Serialize};

use crate::entry::{Commit, Entry, Ref};
use crate::error::{Error, Result};
use crate::grounds::Grounds;
use crate::history::{ancestors, commits, tips};
use crate::index::Runs;
use crate::keys;
use crate::log::{self, Head};
use crate::meter::record::Recorder;
use crate::name::{RepoName, Revision, check_namespace};
use crate::recall::Recall;
use crate::recipe::Recipe;
use crate::stored_file::StoredFile;
use crate::time::rfc3339;
use crate::tree::{File, Tree};

/// The version of stores that this crate makes and reads.
const VERSION: u32 = 1;

/// The fewest digits by which a commit is named.
const SHORTEST: usize = 7;

/// Times of a store that its users agree on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Times {
    /// How long after its last renewal a running push is given up.
    pub lease: Duration,
    /// How long the proof of stored bytes is good for: a push relies on them without reading them.
    pub promise: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { lease: Duration::from_secs(15 * 60), promise: Duration::from_secs(7 * 24 * 3600) }
    }
}

impl Times {
    /// Sets [`Times::lease`].
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Sets [`Times::promise`].
    #[must_use]
    pub fn promise(self, promise: Duration) -> Self {
        Self { promise, ..self }
    }

    /// Returns the shortest grace of a collection while somebody pushes.
    pub fn least_grace(&self) -> Duration {
        self.lease * 4
    }
}

/// A store of model repositories.
///
/// # Examples
/// ```
/// use at1w_registry::{PullOptions, PushOptions, Store};
///
/// let folder = tempfile::tempdir()?;
/// let (model, back) = (folder.path().join("model"), folder.path().join("back"));
/// std::fs::create_dir(&model)?;
/// std::fs::write(model.join("config.json"), "{}")?;
///
/// let store = Store::open(&folder.path().join("store").to_string_lossy())?;
/// store.init()?;
/// let pushed = store.push(&model, &"lab/model".parse()?, &PushOptions::new())?;
/// assert_eq!(pushed.files, 1);
/// store.pull(&"lab/model@main".parse()?, &back, &PullOptions::new())?;
/// assert_eq!(std::fs::read(back.join("config.json"))?, b"{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    pub(crate) objects: Arc<Objects>,
    pub(crate) runs: Arc<Runs>,
    /// What is remembered of logs, by those who ask about the same ones again and again.
    pub(crate) recall: Option<Arc<Recall>>,
    pub(crate) times: Times,
    /// What opening a packed file may allocate.
    pub(crate) limits: Limits,
    /// The user and machine, as entries name them.
    pub(crate) actor: String,
    /// What writes the usage records of this process.
    pub(crate) recorder: Arc<Recorder>,
    /// What usage records are for.
    pub(crate) caller: Caller,
}

/// The request that changes are made for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) request: Option<String>,
    /// The id of its token.
    pub(crate) token: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct About {
    at1w_store: u32,
    id: String,
    created: String,
}

impl Store {
    /// Opens the store at an address: a path, `file://`, `s3://`, `gs://` or `az://`. Sends no
    /// request.
    ///
    /// # Errors
    /// [`Error::Remote`] for an address that names none.
    pub fn open(address: &str) -> Result<Self> {
        Ok(Self::new(Arc::new(Objects::open(address)?)))
    }

    /// Opens the store in these objects.
    pub fn new(objects: Arc<Objects>) -> Self {
        let (runs, recall) = (Arc::default(), None);
        let (times, limits) = (Times::default(), Limits::default());
        let (recorder, caller) = (Arc::new(Recorder::new()), Caller::default());
        Self { objects, runs, recall, times, limits, actor: actor(), recorder, caller }
    }

    /// Sets the times that all users of the store have to agree on.
    #[must_use]
    pub fn times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// Sets what opening a packed file may allocate.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the same store, which remembers logs: for a process that asks about the same ones
    /// again and again.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { recall: Some(Arc::default()), ..self }
    }

    /// Returns the objects of the store.
    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Returns the address.
    pub fn address(&self) -> &str {
        self.objects.address()
    }

    /// Makes a store at an absent or empty place; one that is there is left as it is. Returns
    /// whether it was made.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] and [`Error::Version`].
    pub fn init(&self) -> Result<bool> {
        if self.is_there()? {
            return Ok(false);
        }
        if !self.objects.is_empty()? {
            return Err(Error::NotEmpty(self.address().into()));
        }
        if let Some(root) = self.objects.root() {
            fs::create_dir_all(root).map_err(Error::io(root))?;
        }
        let created = rfc3339(std::time::SystemTime::now());
        let about = About { at1w_store: VERSION, id: keys::random(), created };
        let json = serde_json::to_vec(&about).expect("it is plain data");
        let made = self.objects.create(keys::STORE, json)? == Created::Made;
        // Another process may have made it meanwhile, of a later version even.
        self.require()?;
        Ok(made)
    }

    /// Reads what a store says about itself, if there is one, of a version that this crate knows.
    fn about(&self) -> Result<Option<About>> {
        let Some(bytes) = self.objects.get(keys::STORE)? else { return Ok(None) };
        let about: About =
            serde_json::from_slice(&bytes).map_err(|error| Error::damaged(keys::STORE, error))?;
        if about.at1w_store != VERSION {
            let what = format!("the store {}", self.address());
            return Err(Error::Version { what, found: about.at1w_store, known: VERSION });
        }
        Ok(Some(about))
    }

    fn is_there(&self) -> Result<bool> {
        Ok(self.about()?.is_some())
    }

    /// Returns the id of the store, which a copy of it shares.
    ///
    /// # Errors
    /// [`Error::NoStore`] and [`Error::Version`].
    pub fn id(&self) -> Result<String> {
        let about = self.about()?.ok_or_else(|| Error::NoStore(self.address().into()))?;
        Ok(about.id)
    }

    /// Checks that there is a store.
    ///
    /// # Errors
    /// [`Error::NoStore`] and [`Error::Version`].
    pub fn require(&self) -> Result<()> {
        match self.is_there()? {
            true => Ok(()),
            false => Err(Error::NoStore(self.address().into())),
        }
    }

    /// Finds a repository that is there.
    pub(crate) fn head(&self, repo: &RepoName) -> Result<Head> {
        let found = match &self.recall {
            Some(recall) => recall.head(&self.objects, repo)?,
            None => Head::find(&self.objects, repo)?,
        };
        match found {
            Some(head) if head.is_live() => Ok(head),
            found => {
                self.require()?;
                let hint = match found {
                    Some(head) if !head.entry.is_of_none() => {
                        ": it was removed, and can be restored until it is collected"
                    }
                    _ => "",
                };
                Err(Error::NoRepo { repo: repo.to_string(), hint: hint.into() })
            }
        }
    }

    /// Finds the commit of a branch, a tag, or the first digits of its name.
    pub(crate) fn resolve(&self, head: &Head, repo: &RepoName, name: &str) -> Result<Ref> {
        let Entry { branches, tags, .. } = &head.entry;
        if let Some(found) = branches.get(name).or_else(|| tags.get(name)) {
            return Ok(found.clone());
        }
        let missing = || Error::NoRevision { repo: repo.to_string(), revision: name.into() };
        if name.len() < SHORTEST || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        // The whole name of a commit that a branch or a tag is at needs no look at the log.
        let refs = || branches.values().chain(tags.values());
        if let Some(found) = refs().find(|found| found.commit == name) {
            return Ok(found.clone());
        }
        let nothing = Recall::default();
        let recall = self.recall.as_deref().unwrap_or(&nothing);
        let mut found = recall.commits(&self.objects, head, name)?;
        if found.len() > 1 {
            let problem = "is the beginning of several commits: write more of it".into();
            return Err(Error::Name { name: name.into(), problem });
        }
        found.pop().ok_or_else(missing)
    }

    /// Reads the tree of a revision.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], [`Error::Damaged`], and those of the store.
    pub fn tree(&self, revision: &Revision) -> Result<(Ref, Tree)> {
        let head = self.head(&revision.repo)?;
        let found = self.resolve(&head, &revision.repo, revision.name())?;
        let namespace = &revision.repo.namespace;
        let tree = Tree::read(&self.objects, namespace, found.tree, &found.copy)?;
        Ok((found, tree))
    }

    /// Opens a file of weights of a revision: a packed one is pinned by its root.
    ///
    /// # Errors
    /// Those of [`Store::tree`], [`Error::NoFile`], and those of opening.
    pub fn open_file(&self, revision: &Revision, path: &str) -> Result<Weights> {
        let recipe = self.recipe(&revision.repo.namespace, &self.file(revision, path)?)?;
        self.weights(&revision.repo.namespace, &recipe)
    }

    /// Opens the stored bytes of a file of a revision; returns how they are opened as a file of
    /// weights as well.
    ///
    /// # Errors
    /// Those of [`Store::tree`] and [`Error::NoFile`].
    pub fn open_source(
        &self,
        revision: &Revision,
        path: &str,
    ) -> Result<(Box<dyn ReadAt>, OpenOptions)> {
        let file = self.file(revision, path)?;
        let (source, options) = self.stored(&revision.repo.namespace, &file)?;
        Ok((Box::new(source), options))
    }

    fn file(&self, revision: &Revision, path: &str) -> Result<File> {
        let (_, mut tree) = self.tree(revision)?;
        let file = tree.files.remove(path);
        file.ok_or_else(|| Error::NoFile { repo: revision.to_string(), path: path.into() })
    }

    /// Opens the stored bytes of a file of a namespace: where it is packed, a virtual `.at1w` that
    /// stands alone.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the store.
    pub fn source(&self, namespace: &str, file: &File) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(self.stored(namespace, file)?.0))
    }

    /// Opens the stored bytes of a file of a namespace; returns how they are opened as a packed
    /// file as well, which stands alone.
    pub(crate) fn stored(&self, namespace: &str, file: &File) -> Result<(StoredFile, OpenOptions)> {
        let recipe = self.recipe(namespace, file)?;
        let mut source = StoredFile::open(&self.objects, namespace, &recipe);
        if recipe.has_bases() {
            source = source.alone(&recipe, self.reader(namespace, &recipe)?)?;
        }
        Ok((source, open_options(&recipe).limits(self.limits)))
    }

    /// Reads the recipe of a file of a namespace.
    pub(crate) fn recipe(&self, namespace: &str, file: &File) -> Result<Recipe> {
        let hint = file.recipe.as_deref();
        let recipe = Recipe::read(&self.objects, namespace, file.sha256, hint)?;
        if !recipe.is_of(&file.facts()) {
            return Err(Error::damaged(
                format!("recipe of {}", file.sha256),
                "it is not what the tree says",
            ));
        }
        Ok(recipe)
    }

    /// Opens a file of weights of a namespace by its recipe.
    pub(crate) fn weights(&self, namespace: &str, recipe: &Recipe) -> Result<Weights> {
        let source = StoredFile::open(&self.objects, namespace, recipe);
        let options = open_options(recipe).limits(self.limits);
        let weights = Weights::new(Box::new(source), &options)?;
        let Some(reader) = weights.packed() else { return Ok(weights) };
        Ok(match Grounds::of(&self.objects, namespace, recipe, reader)? {
            Some(grounds) => weights.with_bases(Arc::new(grounds)),
            None => weights,
        })
    }

    /// Opens a packed file of a namespace by its recipe.
    pub(crate) fn reader(&self, namespace: &str, recipe: &Recipe) -> Result<Reader> {
        let source = StoredFile::open(&self.objects, namespace, recipe);
        let reader = Reader::new(Box::new(source), &open_options(recipe).limits(self.limits))?;
        Ok(match Grounds::of(&self.objects, namespace, recipe, &reader)? {
            Some(grounds) => reader.with_bases(Arc::new(grounds)),
            None => reader,
        })
    }

    /// Lists the namespaces of the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        Ok(self.objects.folders(keys::REPOS)?)
    }

    /// Lists the repositories of the store, or of a namespace.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoStore`], and those of the store.
    pub fn repos(&self, namespace: Option<&str>) -> Result<Vec<Entry>> {
        let folder = match namespace {
            Some(namespace) => {
                check_namespace(namespace)?;
                format!("{}/{namespace}", keys::REPOS)
            }
            None => keys::REPOS.into(),
        };
        let listed = self.objects.list(&folder)?;
        if listed.is_empty() {
            self.require()?;
        }
        // The last entry of the last log of each name.
        let mut last = BTreeMap::new();
        for meta in listed {
            let name = meta.key.rsplitn(4, '/').nth(3).unwrap_or_default().to_owned();
            last.insert(name, meta.key);
        }
        let keys: Vec<_> = last.into_values().collect();
        let mut repos = Vec::new();
        for (key, bytes) in keys.iter().zip(self.objects.get_all(&keys)?) {
            let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is not there"))?;
            let head = Head::of(key, &bytes)?;
            if head.is_live() {
                repos.push(head.entry);
            }
        }
        Ok(repos)
    }

    /// Finds the commit of a revision.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], and those of the store.
    pub fn commit_of(&self, revision: &Revision) -> Result<Commit> {
        let head = self.head(&revision.repo)?;
        let found = self.resolve(&head, &revision.repo, revision.name())?;
        let entry = match &head.entry.commit {
            Some(commit) if commit.id == found.commit => return Ok(commit.clone()),
            _ => Head::at(&self.objects, &keys::entry(&head.log, found.seq))?.entry,
        };
        entry.commit.filter(|commit| commit.id == found.commit).ok_or_else(|| Error::Log {
            repo: revision.repo.to_string(),
            seq: found.seq,
            problem: "it does not bring the commit that a later one names".into(),
        })
    }

    /// Returns the commits that lead to a revision, the last one first; of all branches and tags
    /// where the revision names none.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], [`Error::Log`], and those of the store.
    pub fn history(&self, revision: &Revision) -> Result<(Entry, Vec<Commit>)> {
        let head = self.head(&revision.repo)?;
        let entries = log::read_all(&self.objects, &head.log, head.entry.seq)?;
        let commits = commits(&entries);
        let named = revision.revision.as_ref();
        let named = named.map(|name| self.resolve(&head, &revision.repo, name)).transpose()?;
        let found = match &named {
            Some(found) => ancestors(&commits, std::iter::once(found.commit.as_str())),
            None => ancestors(&commits, tips(&head.entry)),
        };
        let wanted: HashSet<_> = found.iter().map(|commit| commit.id.as_str()).collect();
        let all = entries.iter().rev().filter_map(|entry| entry.commit.as_ref());
        let all = all.filter(|commit| wanted.contains(commit.id.as_str())).cloned().collect();
        Ok((head.entry, all))
    }

    /// Reads the log of a repository, the first entry first, and checks its chain.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::Log`], and those of the store.
    pub fn log(&self, repo: &RepoName) -> Result<Vec<Entry>> {
        let head = self.head(repo)?;
        log::read_all(&self.objects, &head.log, head.entry.seq)
    }
}

/// Returns how the file of a recipe is opened: pinned by its root, its index in memory.
fn open_options(recipe: &Recipe) -> OpenOptions {
    let root = recipe.packed.as_ref().map(|packed| packed.root);
    OpenOptions::new().root(root).tail_len(recipe.tail.len() as u64)
}

/// Returns the user and the machine.
fn actor() -> String {
    let user = ["USER", "USERNAME", "LOGNAME"].iter().find_map(|name| env::var(name).ok());
    let host = env::var("HOSTNAME").ok();
    let host = host.or_else(|| fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let (user, host) = (user.unwrap_or_default(), host.unwrap_or_default());
    match (user.trim(), host.trim()) {
        ("", "") => "unknown".into(),
        (user, "") => user.into(),
        ("", host) => format!("@{host}"),
        (user, host) => format!("{user}@{host}"),
    }
}
