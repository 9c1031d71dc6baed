//! Mirroring: a repository that is not here is fetched from upstream once, checked, packed and
//! kept.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::Digest;
use at1w_registry::{Change, Error as StoreError, Expected, PushOptions, Revision, check_path};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::address::{Kind, RepoId, encode};
use crate::body::Quota;
use crate::call::{Call, blocking, worked};
use crate::claim::Owner;
use crate::config::Mirror as Config;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::keep::keep;
use crate::revision::{is_commit, of_upstream, stored};

/// How long a client waits for the headers of a file: less than its patience.
const HEAD: Duration = Duration::from_secs(8);

/// How long the next bytes of upstream may take.
const IDLE: Duration = Duration::from_secs(60);

/// The largest description of a repository, in bytes.
const DESCRIPTION: usize = 64 << 20;

/// How long a failure of upstream is remembered, so that clients who ask again do not all wait.
const FAILED: Duration = Duration::from_secs(15);

/// The number of revisions that are fetched at the same time.
const FETCHES: usize = 4;

/// The outcome of fetching a revision, for all who wait.
type Outcome = Option<Answer<()>>;

/// When a revision was asked for, and the failure, if it was one.
type Asked = (Instant, Option<Problem>);

/// The upstream of a server.
pub(crate) struct Mirror {
    config: Config,
    client: reqwest::Client,
    token: Option<String>,
    jobs: Mutex<HashMap<String, watch::Receiver<Outcome>>>,
    asked: Mutex<HashMap<String, Asked>>,
    fetching: Semaphore,
    /// The bytes of the revisions that are being fetched.
    reserved: Arc<AtomicU64>,
}

/// A share of the quota for a revision on its way, which is given back when it is dropped.
struct Reserved {
    all: Arc<AtomicU64>,
    len: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// What upstream says about a revision.
#[derive(Deserialize)]
struct Described {
    sha: String,
    #[serde(default)]
    private: bool,
    /// `false`, or how the gate is kept.
    #[serde(default)]
    gated: Value,
    siblings: Vec<Sibling>,
}

impl Described {
    /// Whether only some may read it.
    fn is_closed(&self) -> bool {
        self.private || !matches!(self.gated, Value::Null | Value::Bool(false))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: u64,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
}

impl Mirror {
    pub(crate) fn new(config: Config) -> crate::error::Result<Option<Self>> {
        if config.upstream.is_empty() {
            return Ok(None);
        }
        let failed = |problem: String| crate::Error::Config { path: "mirror".into(), problem };
        let token = match config.token_file.as_os_str().is_empty() {
            true => None,
            false => {
                let text = std::fs::read_to_string(&config.token_file);
                Some(text.map_err(|error| failed(error.to_string()))?.trim().to_owned())
            }
        };
        let scheme = match config.upstream.split_once("://") {
            Some((scheme @ ("http" | "https"), _)) => scheme.to_owned(),
            _ => return Err(failed(format!("{} is no address of a hub", config.upstream))),
        };
        // Upstream may lead elsewhere for its files, but not out of encryption.
        let redirect = Policy::custom(move |attempt| {
            let plain = scheme == "https" && attempt.url().scheme() != "https";
            match plain || attempt.previous().len() > 5 {
                true => attempt.error("upstream leads elsewhere"),
                false => attempt.follow(),
            }
        });
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10));
        let client = client.redirect(redirect).build();
        let client = client.map_err(|error| failed(error.to_string()))?;
        let (jobs, asked) = (Mutex::default(), Mutex::default());
        let (fetching, reserved) = (Semaphore::new(FETCHES), Arc::default());
        Ok(Some(Self { config, client, token, jobs, asked, fetching, reserved }))
    }

    /// Whether repositories of a namespace may be asked for.
    fn may_ask(&self, namespace: &str) -> bool {
        let Config { namespaces, .. } = &self.config;
        namespaces.is_empty() || namespaces.iter().any(|known| known == namespace)
    }

    /// Returns what upstream said about a revision, if that was a short while ago.
    fn said(&self, key: &str) -> Option<Option<Problem>> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, problem) = asked.get(key)?;
        let lifetime = Duration::from_secs(self.config.lifetime);
        let passing = problem.as_ref().is_some_and(|problem| problem.status.is_server_error());
        let good = if passing { FAILED.min(lifetime) } else { lifetime };
        (since.elapsed() <= good).then(|| problem.clone())
    }

    fn note(&self, key: &str, problem: Option<Problem>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() > 10_000 {
            asked.clear();
        }
        asked.insert(key.into(), (Instant::now(), problem));
    }

    async fn get(&self, path: &str) -> Answer<reqwest::Response> {
        let url = format!("{}{path}", self.config.upstream.trim_end_matches('/'));
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = tokio::time::timeout(IDLE, request.send()).await;
        let answer = answer.map_err(|_| unreachable("it does not answer"))?;
        let answer = answer.map_err(|error| unreachable(&error.to_string()))?;
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        match answer.status().as_u16() {
            200 => Ok(answer),
            404 if code == Some("RevisionNotFound") => Err(Problem::no_revision("of upstream")),
            // Whoever upstream does not let in learns no more than that.
            401 | 403 | 404 => Err(Problem::no_repo()),
            status => Err(unreachable(&format!("it answers {status}"))),
        }
    }
}

fn unreachable(cause: &str) -> Problem {
    Problem::busy("Upstream cannot be reached: try again").because(cause)
}

/// Returns the next bytes of an answer.
async fn next(answer: &mut reqwest::Response) -> Answer<Option<axum::body::Bytes>> {
    let piece = tokio::time::timeout(IDLE, answer.chunk()).await;
    let piece = piece.map_err(|_| unreachable("its answer stops"))?;
    piece.map_err(|error| unreachable(&error.to_string()))
}

/// Sees to it that a revision that upstream has is here, for a caller who has a token. `patient` is
/// one who waits as long as it takes.
pub(crate) async fn ensure(
    call: &Arc<Call>,
    id: &RepoId,
    revision: &str,
    patient: bool,
) -> Answer<()> {
    let Some(mirror) = &call.hub.mirror else { return Ok(()) };
    let Some(token) = call.who.token() else { return Ok(()) };
    let namespace = &id.repo.namespace;
    if revision.starts_with("refs/pr/") || !mirror.may_ask(namespace) {
        return Ok(());
    }
    let Ok(name) = stored(revision) else { return Ok(()) };
    // What only some may read is fetched for those alone who may read what is private here.
    let trusted = token.covers(namespace);
    let key = format!("{}@{name} {trusted}", id.repo);
    let pinned = is_commit(&name);
    let (hub, wanted) = (
        Arc::clone(&call.hub),
        Revision { repo: id.repo.clone(), revision: Some(of_upstream(&name)) },
    );
    let state = blocking(move || {
        if hub.owner(&wanted.repo.namespace)? == Some(Owner::Local) {
            return Ok(None);
        }
        match hub.store.commit_of(&wanted) {
            Ok(_) => Ok(Some(true)),
            Err(StoreError::NoRepo { .. } | StoreError::NoRevision { .. }) => Ok(Some(false)),
            Err(error) => Err(error.into()),
        }
    });
    let Some(here) = state.await? else { return Ok(()) };
    if here && pinned {
        return Ok(());
    }
    match mirror.said(&key) {
        Some(Some(problem)) if !here => return Err(problem),
        Some(_) if here => return Ok(()),
        _ => {}
    }
    let mut job = {
        let mut jobs = mirror.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.get(&key) {
            Some(job) => job.clone(),
            None => {
                let (sender, job) = watch::channel(None);
                jobs.insert(key.clone(), job.clone());
                let (hub, id) = (Arc::clone(&call.hub), id.clone());
                tokio::spawn(async move {
                    let outcome = fetch(&hub, &id, &name, trusted).await;
                    if let Some(mirror) = &hub.mirror {
                        mirror.note(&key, outcome.as_ref().err().cloned());
                        let mut jobs = mirror.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                        jobs.remove(&key);
                    }
                    if let Err(problem) = &outcome {
                        let cause = problem.cause();
                        warn!(repo = %id.repo, revision = name, cause, "was not mirrored");
                    }
                    let _ = sender.send(Some(outcome));
                });
                job
            }
        }
    };
    let wait = if patient { Duration::from_secs(24 * 3600) } else { HEAD };
    let done = tokio::time::timeout(wait, job.wait_for(Option::is_some)).await;
    match done {
        Err(_) if here => Ok(()),
        Err(_) => Err(Problem::busy("The repository is being fetched from upstream: try again")),
        Ok(outcome) => match outcome.ok().and_then(|outcome| outcome.clone()) {
            // What is here is served while upstream is away.
            Some(Ok(())) | None => Ok(()),
            Some(Err(_)) if here => Ok(()),
            Some(Err(problem)) => Err(problem),
        },
    }
}

/// Fetches a revision, and commits it.
async fn fetch(hub: &Arc<Hub>, id: &RepoId, name: &str, trusted: bool) -> Answer<()> {
    let Some(mirror) = &hub.mirror else { return Ok(()) };
    let _turn = mirror.fetching.acquire().await.map_err(Problem::internal)?;
    let kind = match id.kind {
        Kind::Model => "models",
        Kind::Dataset => "datasets",
        Kind::Space => "spaces",
    };
    let path = format!("/api/{kind}/{}/revision/{}?blobs=true", id.shown(), encode(name));
    let mut answer = mirror.get(&path).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut answer).await? {
        if bytes.len() + piece.len() > DESCRIPTION {
            return Err(unreachable("what it says is too long"));
        }
        bytes.extend_from_slice(&piece);
    }
    let described: Described =
        serde_json::from_slice(&bytes).map_err(|error| unreachable(&error.to_string()))?;
    let (sha, closed) = (described.sha.clone(), described.is_closed());
    if closed && !trusted {
        return Err(Problem::no_repo());
    }
    if !is_commit(&sha) {
        return Err(unreachable("it names a commit that is none"));
    }
    let (checked, of) = (Arc::clone(hub), id.clone());
    let size = described.siblings.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    let quota = mirror.config.quota;
    let before = mirror.reserved.fetch_add(size, Ordering::Relaxed);
    let _reserved = Reserved { all: Arc::clone(&mirror.reserved), len: size };
    blocking(move || {
        let used = before.saturating_add(kept(&checked)?);
        if used.saturating_add(size) > quota {
            let message = format!("{} has {size} bytes: the quota for mirroring is full", of.repo);
            return Err(Problem::forbidden(message));
        }
        checked.claim(&of.repo.namespace, Owner::Upstream)
    })
    .await?;
    let (mut changes, mut files) = (Vec::new(), Vec::new());
    for sibling in &described.siblings {
        let (change, file) = fetch_file(hub, id, &sha, sibling).await?;
        changes.push((sibling.rfilename.clone(), change));
        files.extend(file);
    }
    info!(repo = %id.repo, revision = name, sha, size, "mirrored");
    let slots = Arc::clone(&hub.committing);
    let (hub, id, name) = (Arc::clone(hub), id.clone(), name.to_owned());
    worked(&slots, move || {
        commit(&hub, &id, &name, &sha, changes, closed)?;
        drop(files);
        Ok(())
    })
    .await
}

/// Returns the length of all files that are kept from upstream, each once in its namespace.
fn kept(hub: &Hub) -> Answer<u64> {
    let mut files = HashMap::new();
    for entry in hub.store.repos(None)? {
        let namespace = entry.name.split('/').next().unwrap_or_default().to_owned();
        if hub.owner(&namespace)? != Some(Owner::Upstream) {
            continue;
        }
        for found in entry.branches.values().chain(entry.tags.values()) {
            let tree = hub.tree(&namespace, found)?;
            let sizes = tree.files.values().map(|file| (file.sha256, file.size));
            files.extend(sizes.map(|(sha256, size)| ((namespace.clone(), sha256), size)));
        }
    }
    Ok(files.values().fold(0, |sum, size| sum.saturating_add(*size)))
}

/// Fetches a file, and checks that it is the one that upstream has described.
async fn fetch_file(
    hub: &Arc<Hub>,
    id: &RepoId,
    sha: &str,
    sibling: &Sibling,
) -> Answer<(Change, Option<(TempPath, Quota)>)> {
    let Some(mirror) = &hub.mirror else { return Err(Problem::no_repo()) };
    let path = &sibling.rfilename;
    check_path(path)?;
    let namespace = id.repo.namespace.clone();
    let sha256 = match &sibling.lfs {
        Some(large) => Some(large.sha256.parse::<Digest>().map_err(|_| unreachable("no SHA-256"))?),
        None => None,
    };
    if let Some(sha256) = sha256 {
        let (hub, namespace) = (Arc::clone(hub), namespace.clone());
        if blocking(move || Ok(hub.store.find_file(&namespace, sha256)?)).await?.is_some() {
            return Ok((Change::Stored(sha256), None));
        }
    }
    if sibling.size > hub.config.limits.largest() {
        return Err(Problem::forbidden(format!("{path} has {} bytes", sibling.size)));
    }
    let quota = Quota::take(hub, sibling.size)?;
    let folder = id.kind.folder();
    let encoded: Vec<_> = path.split('/').map(encode).collect();
    let address = format!("/{folder}{}/resolve/{sha}/{}", id.shown(), encoded.join("/"));
    let mut answer = mirror.get(&address).await?;
    let mut file = NamedTempFile::new_in(hub.staging.path())?;
    let mut hasher = Sha256::new();
    let mut git = Sha1::new_with_prefix(format!("blob {}\0", sibling.size));
    let mut len = 0_u64;
    while let Some(piece) = next(&mut answer).await? {
        len += piece.len() as u64;
        if len > sibling.size {
            return Err(unreachable(&format!("{path} is longer than it said")));
        }
        hasher.update(&piece);
        git.update(&piece);
        file.write_all(&piece)?;
    }
    file.flush()?;
    let actual = Digest(hasher.finalize().into());
    let blob: String = git.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let right = match (&sha256, &sibling.blob_id) {
        (Some(sha256), _) => *sha256 == actual,
        (None, Some(known)) => *known == blob,
        (None, None) => false,
    };
    if !right || len != sibling.size {
        return Err(unreachable(&format!("{path} is not what it said")));
    }
    if sha256.is_none() {
        let file = file.into_temp_path();
        return Ok((Change::Add(file.to_path_buf()), Some((file, quota))));
    }
    let (slots, hub) = (Arc::clone(&hub.packing), Arc::clone(hub));
    let kept = worked(&slots, move || {
        let _quota = quota;
        keep(&hub, &namespace, actual, file.path(), &())
    });
    kept.await.map(|_| (Change::Stored(actual), None))
}

/// Makes the revision: the branch becomes what upstream has, under the name that upstream gives it
/// as well. It does so in one step: until then it is where it was, or is not there.
fn commit(
    hub: &Hub,
    id: &RepoId,
    name: &str,
    sha: &str,
    mut changes: Vec<(String, Change)>,
    closed: bool,
) -> Answer<()> {
    let store = hub.store.acting_as("mirror");
    let message = format!("as upstream has it at {sha}");
    let (branch, tag) = (of_upstream(name), of_upstream(sha));
    let mut options = PushOptions::new().branch(&branch).message(&message).level(hub.config.level);
    let entry = match store.entry(&id.repo) {
        Ok(entry) => Some(entry),
        Err(StoreError::NoRepo { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    // What is closed upstream is closed here, whatever it was before.
    match &entry {
        Some(entry) if entry.private != closed => store.set_private(&id.repo, closed)?,
        _ => options = options.private(closed),
    }
    match entry.and_then(|entry| entry.branches.get(&branch).cloned()) {
        None => options = options.expected(Expected::New(None)),
        Some(found) => {
            let tree = hub.tree(&id.repo.namespace, &found)?;
            let wanted: HashSet<_> = changes.iter().map(|(path, _)| path.clone()).collect();
            let gone = tree.files.keys().filter(|path| !wanted.contains(*path));
            let gone: Vec<_> = gone.map(|path| (path.clone(), Change::Remove)).collect();
            changes.extend(gone);
        }
    }
    match store.apply(&id.repo, &changes, &options) {
        // Another server was faster: the next look at upstream tells whether it has moved since.
        Ok(_) | Err(StoreError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let at = Revision { repo: id.repo.clone(), revision: Some(branch.clone()) };
    if name != sha {
        match store.tag(&at, &tag) {
            Ok(_) | Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
