//! Mirroring: a repository that is not here is fetched from upstream once, checked, packed and
//! kept.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::Digest;
use at1w_registry::{Change, Error as StoreError, PushOptions, Revision, check_path};
use axum::http::StatusCode;
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::address::{Kind, RepoId, encode};
use crate::body::Quota;
use crate::call::{Call, blocking};
use crate::claim::Owner;
use crate::config::Mirror as Config;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::keep::keep;
use crate::revision::{is_commit, stored};

/// How long a client waits for the headers of a file: less than its patience.
const HEAD: Duration = Duration::from_secs(8);

/// How long the next bytes of upstream may take.
const IDLE: Duration = Duration::from_secs(60);

/// The largest description of a repository, in bytes.
const DESCRIPTION: usize = 64 << 20;

/// The outcome of fetching a revision, for all who wait.
type Outcome = Option<Result<(), (StatusCode, String)>>;

/// The upstream of a server.
pub(crate) struct Mirror {
    config: Config,
    client: reqwest::Client,
    token: Option<String>,
    jobs: Mutex<HashMap<String, watch::Receiver<Outcome>>>,
    /// When upstream was asked for a revision the last time.
    asked: Mutex<HashMap<String, Instant>>,
}

/// What upstream says about a revision.
#[derive(Deserialize)]
struct Described {
    sha: String,
    siblings: Vec<Sibling>,
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
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build();
        let client = client.map_err(|error| failed(error.to_string()))?;
        let (jobs, asked) = (Mutex::default(), Mutex::default());
        Ok(Some(Self { config, client, token, jobs, asked }))
    }

    /// Whether a revision has to be asked for: it is not here, or it may have moved.
    fn is_due(&self, key: &str, pinned: bool, here: bool) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let since = asked.get(key).map(Instant::elapsed);
        let lifetime = Duration::from_secs(self.config.lifetime);
        !(here && pinned) && since.is_none_or(|since| since > lifetime)
    }

    fn note(&self, key: &str) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() > 10_000 {
            asked.clear();
        }
        asked.insert(key.into(), Instant::now());
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
        match answer.status().as_u16() {
            200 => Ok(answer),
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
    if call.who.token().is_none() || revision.starts_with("refs/pr/") {
        return Ok(());
    }
    let Ok(name) = stored(revision) else { return Ok(()) };
    let key = format!("{}@{name}", id.repo);
    let pinned = is_commit(&name);
    let (hub, wanted) =
        (Arc::clone(&call.hub), Revision { repo: id.repo.clone(), revision: Some(name.clone()) });
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
    if !mirror.is_due(&key, pinned, here) {
        return Ok(());
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
                    let outcome = fetch(&hub, &id, &name).await;
                    if let Some(mirror) = &hub.mirror {
                        mirror.note(&key);
                        let mut jobs = mirror.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                        jobs.remove(&key);
                    }
                    if let Err(problem) = &outcome {
                        let cause = problem.cause();
                        warn!(repo = %id.repo, revision = name, cause, "was not mirrored");
                    }
                    let shared =
                        outcome.map_err(|error| (error.status, error.message().to_owned()));
                    let _ = sender.send(Some(shared));
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
            Some(Err((status, message))) => {
                let problem = Problem::new(status, message);
                Err(if status == StatusCode::NOT_FOUND { Problem::no_repo() } else { problem })
            }
        },
    }
}

/// Fetches a revision, and commits it.
async fn fetch(hub: &Arc<Hub>, id: &RepoId, name: &str) -> Answer<()> {
    let Some(mirror) = &hub.mirror else { return Ok(()) };
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
    let sha = described.sha.clone();
    if !is_commit(&sha) {
        return Err(unreachable("it names a commit that is none"));
    }
    let (checked, of) = (Arc::clone(hub), id.clone());
    let size = described.siblings.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    let quota = mirror.config.quota;
    blocking(move || {
        let mut used = 0_u64;
        for entry in checked.store.repos(None)? {
            let namespace = entry.name.split('/').next().unwrap_or_default().to_owned();
            if checked.owner(&namespace)? == Some(Owner::Upstream) {
                let most = entry.branches.values().map(|branch| branch.bytes).max();
                used = used.saturating_add(most.unwrap_or(0));
            }
        }
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
    let (hub, id, name) = (Arc::clone(hub), id.clone(), name.to_owned());
    blocking(move || commit(&hub, &id, &name, &sha, changes, files)).await
}

/// Fetches a file, and checks that it is the one that upstream has described.
async fn fetch_file(
    hub: &Arc<Hub>,
    id: &RepoId,
    sha: &str,
    sibling: &Sibling,
) -> Answer<(Change, Option<TempPath>)> {
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
    if sibling.size > hub.config.limits.file {
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
        return Ok((Change::Add(file.to_path_buf()), Some(file)));
    }
    let waiting = Arc::clone(hub);
    let permit = waiting.packing.acquire().await.map_err(Problem::internal)?;
    let hub = Arc::clone(hub);
    let kept = blocking(move || keep(&hub, &namespace, actual, file.path(), &())).await;
    drop((permit, quota));
    kept.map(|_| (Change::Stored(actual), None))
}

/// Makes the revision: the branch becomes what upstream has, under the name that upstream gives it
/// as well.
fn commit(
    hub: &Hub,
    id: &RepoId,
    name: &str,
    sha: &str,
    mut changes: Vec<(String, Change)>,
    files: Vec<TempPath>,
) -> Answer<()> {
    let store = hub.store.acting_as("mirror");
    let message = format!("as upstream has it at {sha}");
    match store.entry(&id.repo) {
        Err(StoreError::NoRepo { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(entry) => {
            if !entry.branches.contains_key(name) {
                let from = entry.branches.keys().next().cloned();
                store.branch(&Revision { repo: id.repo.clone(), revision: from }, name)?;
            }
            let branch = Revision { repo: id.repo.clone(), revision: Some(name.into()) };
            let (_, tree) = store.tree(&branch)?;
            let wanted: std::collections::HashSet<_> =
                changes.iter().map(|(path, _)| path.clone()).collect();
            let gone = tree.files.into_keys().filter(|path| !wanted.contains(path));
            let gone: Vec<_> = gone.map(|path| (path, Change::Remove)).collect();
            changes.extend(gone);
        }
    }
    let options = PushOptions::new().branch(name).message(&message).level(hub.config.level);
    store.apply(&id.repo, &changes, &options)?;
    drop(files);
    let at = Revision { repo: id.repo.clone(), revision: Some(name.into()) };
    if name != sha {
        match store.tag(&at, sha) {
            Ok(_) | Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
