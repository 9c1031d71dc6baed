//! The state that all requests share.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use at1w_container::fs::write_secret;
use at1w_container::{Digest, Limits};
use at1w_registry::{Commit, File, Original, Ref, Store, Tree};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::allowance::Allowances;
use crate::audit;
use crate::base_queue::BaseQueue;
use crate::cache::Cache;
use crate::config::Config;
use crate::error::{Answer, Error, Problem, Result};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::owner::Owner;
use crate::packed_form::{Generations, Packed};
use crate::rate::Rate;
use crate::reads::Reads;
use crate::scrub::Scrubs;
use crate::sign::Key;
use crate::signed::Signers;
use crate::staging::Staging;
use crate::token::{NewToken, Role, Tokens, secret};
use crate::usage::Usages;
use crate::work::Slots;

/// The largest index of a packed file that is opened, with its header, in bytes.
pub(crate) const INDEX: u64 = 64 << 20;

/// The number of times by which an opened file takes more memory than its header has bytes.
const HEADER_WEIGHT: u64 = 32;

/// The memory that an entry of a tree or an opened file takes besides, in bytes.
const ENTRY_WEIGHT: u64 = 512;

/// How long the store is believed to answer as it did.
const ASKED: Duration = Duration::from_secs(1);

/// How long a damaged file is refused without another look: it may be repaired meanwhile.
const REFUSED: Duration = Duration::from_secs(600);

/// The state of a server.
pub(crate) struct Hub {
    pub(crate) store: Arc<Store>,
    pub(crate) tokens: Tokens,
    pub(crate) config: Config,
    pub(crate) key: Key,
    /// The folder for files on their way.
    pub(crate) staging: Staging,
    /// The number of bytes in it.
    pub(crate) staged: Arc<AtomicU64>,
    /// The uploads that are packed, and the commits that are made.
    pub(crate) packing: Slots,
    pub(crate) committing: Arc<Semaphore>,
    /// The pieces that are decoded.
    pub(crate) decoding: Arc<Semaphore>,
    /// The pages that are made: no download waits for them.
    pub(crate) pages: Arc<Semaphore>,
    /// The questions of what there is.
    pub(crate) asking: Slots,
    /// The memory for bodies.
    pub(crate) memory: Memory,
    pub(crate) requests: Rate,
    /// Requests that show no good token, by address.
    pub(crate) strangers: Rate,
    pub(crate) downloads: Rate,
    pub(crate) mirror: Option<Mirror>,
    /// Those whose signatures are asked for.
    pub(crate) signers: Option<Signers>,
    pub(crate) scrubs: Scrubs,
    /// The files whose bases are not looked for yet.
    pub(crate) base_queue: BaseQueue,
    /// Whether the server was asked to end.
    pub(crate) ending: AtomicBool,
    pub(crate) usages: Usages,
    owners: Mutex<HashMap<String, Owner>>,
    /// Whether the store answered, and when it was asked.
    asked: Mutex<Option<(Instant, Answer<()>)>>,
    trees: Cache<(String, Digest), Tree>,
    originals: Cache<(String, Digest), Original>,
    packed: Cache<(String, Digest), Generations>,
    /// The files that were found damaged, and when.
    damaged: Mutex<HashMap<(String, Digest), Instant>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reads: Reads,
    pub(crate) allowances: Allowances,
}

impl Hub {
    /// Checks that a namespace may hold more files.
    pub(crate) fn check_allowance(&self, namespace: &str, new: &[(Digest, u64)]) -> Answer<()> {
        match self.quota(namespace) {
            Some(quota) => self.allowances.check(&self.store, quota, namespace, new),
            None => Ok(()),
        }
    }

    /// Returns what a namespace may hold, where that is limited.
    fn quota(&self, namespace: &str) -> Option<u64> {
        let quotas = &self.config.quotas;
        quotas.get(namespace).or_else(|| quotas.get("*")).copied()
    }

    /// Notes a file that is stored now, with bytes that are good: it counts before a commit names
    /// it.
    pub(crate) fn note_stored(&self, namespace: &str, file: &File) {
        self.lift_damage(namespace, file.sha256);
        self.base_queue.note_stored(namespace, file.sha256);
        if self.quota(namespace).is_some() {
            self.allowances.note(namespace, file.sha256, file.size);
        }
    }

    /// Forgets what a namespace holds: it was changed here.
    pub(crate) fn forget_files(&self, namespace: &str) {
        self.allowances.forget(namespace);
    }

    /// Opens a store, which is made at an absent or empty place, with its secrets.
    pub(crate) fn open(store: Store, config: Config) -> Result<Self> {
        store.init()?;
        let store = store.limits(Limits::default().index_len(INDEX)).remembering();
        let secrets = config.secrets_of(&store);
        make_private(&secrets)?;
        let key = Key::read_or_make(&secrets.join("signing-key"))?;
        let tokens = Tokens::new(Arc::clone(store.objects()));
        first_token(&tokens, &secrets.join("admin-token"))?;
        let staging = config.staging_folder();
        let staging = Staging::new(&staging)
            .map_err(|cause| Error::Io { what: format!("folder {}", staging.display()), cause })?;
        let decoding = match config.limits.decoding {
            0 => 2 * thread::available_parallelism().map_or(1, Into::into),
            number => number,
        };
        Ok(Self {
            store: Arc::new(store),
            tokens,
            key,
            staging,
            staged: Arc::default(),
            packing: Slots::new(config.limits.packing),
            committing: Arc::new(Semaphore::new(config.limits.packing.max(1))),
            decoding: Arc::new(Semaphore::new(decoding)),
            pages: Arc::new(Semaphore::new(decoding)),
            asking: Slots::new(decoding),
            memory: Memory::new(config.limits.memory),
            requests: Rate::new("api", config.limits.requests),
            strangers: Rate::new("api", config.limits.requests),
            downloads: Rate::new("resolvers", config.limits.downloads),
            mirror: Mirror::new(config.mirror.clone())?,
            signers: Signers::read(&config.signatures)?,
            trees: Cache::new(config.limits.cache / 2),
            originals: Cache::new(config.limits.cache / 4),
            packed: Cache::new(config.limits.cache / 4),
            config,
            scrubs: Scrubs::default(),
            base_queue: BaseQueue::default(),
            ending: AtomicBool::new(false),
            usages: Usages::default(),
            owners: Mutex::default(),
            asked: Mutex::default(),
            damaged: Mutex::default(),
            metrics: Arc::new(Metrics::new()),
            reads: Reads::default(),
            allowances: Allowances::default(),
        })
    }

    /// Returns the tree of a branch or a tag.
    pub(crate) fn tree(&self, namespace: &str, found: &Ref) -> Answer<Arc<Tree>> {
        self.tree_with(namespace, found.tree, || Ok(self.store.tree_of(namespace, found)?))
    }

    /// Returns the tree of a commit.
    pub(crate) fn tree_of(&self, namespace: &str, commit: &Commit) -> Answer<Arc<Tree>> {
        self.tree_with(namespace, commit.tree, || {
            Ok(self.store.tree_of_commit(namespace, commit)?)
        })
    }

    /// Returns a tree, which never changes.
    fn tree_with(
        &self,
        namespace: &str,
        digest: Digest,
        read: impl FnOnce() -> Answer<Tree>,
    ) -> Answer<Arc<Tree>> {
        let key = (namespace.to_owned(), digest);
        if let Some(tree) = self.trees.get(&key) {
            return Ok(tree);
        }
        let tree = Arc::new(read()?);
        let weight = |path: &String| path.len() as u64 + ENTRY_WEIGHT;
        self.trees.insert(key, &tree, tree.files.keys().map(weight).sum());
        Ok(tree)
    }

    /// Opens the original of a file.
    pub(crate) fn original(&self, namespace: &str, file: &File) -> Answer<Arc<Original>> {
        let key = (namespace.to_owned(), file.sha256);
        if let Some(original) = self.originals.get(&key) {
            return Ok(original);
        }
        let original = Arc::new(self.store.original(namespace, file)?);
        self.originals.insert(key, &original, weight(&original));
        Ok(original)
    }

    /// Opens the packed form of a file, or takes the one that a client has begun with; `None` for a
    /// file that is not packed.
    pub(crate) fn packed(
        &self,
        namespace: &str,
        file: &File,
        has_begun: impl Fn(&str) -> bool,
    ) -> Answer<Option<Arc<Packed>>> {
        let key = (namespace.to_owned(), file.sha256);
        let known = self.packed.get(&key);
        if let Some(packed) = known.as_ref().and_then(|known| known.choose(has_begun)) {
            return Ok(Some(packed));
        }
        // Both are of one recipe, or nearly: no older one says which features there are.
        self.originals.remove(&key);
        let original = self.original(namespace, file)?;
        let Original::Packed(reader) = &*original else { return Ok(None) };
        let source = self.store.source(namespace, file)?;
        let packed = Arc::new(Packed::new(source, reader.alone_features())?);
        let all = Arc::new(Generations::new(&packed, known.as_deref()));
        // It has an index of its own, and opens what it decodes as an original is opened.
        self.packed.insert(key, &all, weight(&original) * 2 * all.len());
        Ok(Some(packed))
    }

    /// Forgets how a file was opened: it may have moved.
    pub(crate) fn forget(&self, namespace: &str, sha256: Digest) {
        let key = (namespace.to_owned(), sha256);
        self.originals.remove(&key);
        self.packed.remove(&key);
    }

    /// Returns the owner of a namespace, where it was looked up before: it never changes.
    pub(crate) fn known_owner(&self, namespace: &str) -> Option<Owner> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.get(namespace).copied()
    }

    pub(crate) fn learn_owner(&self, namespace: &str, owner: Owner) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.insert(namespace.into(), owner);
    }

    /// Checks that the store answers: whoever asks, it is asked once in a while.
    pub(crate) fn check_store(&self) -> Answer<()> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match &*asked {
            Some((since, outcome)) if since.elapsed() < ASKED => outcome.clone(),
            _ => {
                let outcome = self.store.require().map_err(Problem::from);
                *asked = Some((Instant::now(), outcome.clone()));
                outcome
            }
        }
    }

    /// Notes that a file is damaged: it is refused for a while.
    pub(crate) fn mark_damaged(&self, namespace: &str, sha256: Digest) {
        self.metrics.refuted("serve", 1);
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.insert((namespace.to_owned(), sha256), Instant::now());
    }

    /// Checks that a file is not known to be damaged.
    pub(crate) fn check_damage(&self, namespace: &str, sha256: Digest) -> Answer<()> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let since = damaged.get(&(namespace.to_owned(), sha256)).map(Instant::elapsed);
        if since.is_some_and(|since| since < REFUSED) {
            return Err(Problem::internal(format!("{sha256} was found damaged before")));
        }
        Ok(())
    }

    /// Lifts the mark of a file, of which a good copy was stored.
    pub(crate) fn lift_damage(&self, namespace: &str, sha256: Digest) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.remove(&(namespace.to_owned(), sha256));
        drop(damaged);
        self.forget(namespace, sha256);
    }

    /// Records an action in the audit log of the store, before it is acknowledged.
    pub(crate) fn audit(&self, record: Value) -> Answer<()> {
        Ok(audit::record(self.store.objects(), record)?)
    }
}

/// Returns about how much memory an opened file takes, in bytes.
fn weight(original: &Original) -> u64 {
    let of_file = match original {
        Original::Packed(reader) => {
            reader.info().header_len * HEADER_WEIGHT + reader.info().index_len
        }
        Original::Plain(_) => 0,
    };
    of_file + ENTRY_WEIGHT
}

/// Makes a folder that only its owner may look into.
fn make_private(folder: &Path) -> Result<()> {
    let failed = |cause| Error::Io { what: format!("folder {}", folder.display()), cause };
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed)
}

/// Makes the first token of a store that has none, for its administrator, in a file of mode 0600.
fn first_token(tokens: &Tokens, path: &Path) -> Result<()> {
    let failed = |cause| Error::Io { what: format!("the token {}", path.display()), cause };
    if path.exists() {
        return Ok(());
    }
    // It is written before it holds, and has its name afterwards: nobody is left with a token that
    // he does not know, whenever the server is killed.
    let new = path.with_extension("new");
    let there = tokens.list()?;
    if there.tokens.is_empty() && there.damaged.is_empty() {
        if !new.exists() {
            write_secret(&new, format!("{}\n", secret()).as_bytes())
                .map_err(|error| failed(io::Error::other(error.to_string())))?;
        }
        let secret = fs::read_to_string(&new).map_err(failed)?;
        let wish = NewToken {
            // `admin` is no namespace, and a name without one is looked for in that of the caller.
            name: "root".into(),
            role: Role::Admin,
            namespaces: Vec::new(),
            lifetime: None,
        };
        tokens.insert(secret.trim(), &wish, "")?;
    }
    match fs::rename(&new, path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}
