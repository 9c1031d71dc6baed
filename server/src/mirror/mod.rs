//! Mirroring: a repository that is not here is fetched from upstream once, checked, packed and
//! kept.

mod fetch;
mod kept;
mod upstream;

use std::collections::HashMap;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_registry::{Error as StoreError, Revision, check_namespace};
use axum::http::StatusCode;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use self::kept::Kept;
use self::upstream::Upstream;
use crate::address::RepoId;
use crate::call::{Call, blocking};
use crate::claim::Owner;
use crate::config::Mirror as Config;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::revision::{is_commit, is_hidden, of_upstream, stored};

/// How long a client waits for the headers of a file: less than its patience.
const HEAD: Duration = Duration::from_secs(8);

/// How long upstream is not asked again after it has failed.
const FAILED: Duration = Duration::from_secs(5);

/// The number of revisions that are fetched at the same time.
const SLOTS: usize = 4;

/// The number of answers of upstream that are remembered.
const REMEMBERED: usize = 10_000;

/// The outcome of fetching a revision, for all who wait.
type Outcome = Option<Answer<()>>;

/// The upstream of a server.
pub(crate) struct Mirror {
    config: Config,
    upstream: Upstream,
    jobs: Mutex<HashMap<Wanted, watch::Receiver<Outcome>>>,
    /// What became of asking for a revision the last time, and when that was.
    asked: Mutex<HashMap<Wanted, (Instant, Answer<()>)>>,
    kept: Kept,
    slots: Semaphore,
}

/// A revision that is asked for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    repo: String,
    revision: String,
    /// Whether the caller may read all of the namespace. Others are answered apart: they must not
    /// learn what is private upstream.
    covers: bool,
}

impl Mirror {
    pub(crate) fn new(config: Config) -> crate::error::Result<Option<Self>> {
        if config.upstream.is_empty() {
            return Ok(None);
        }
        let failed = |problem: String| crate::Error::Config { path: "mirror".into(), problem };
        let url = &config.upstream;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(failed(format!("{url:?} does not begin with http:// or https://")));
        }
        if config.namespaces.is_empty() {
            let problem = "no namespaces are named that are fetched from upstream";
            return Err(failed(problem.into()));
        }
        for namespace in config.namespaces.iter().filter(|name| *name != ALL) {
            check_namespace(namespace)?;
        }
        let token = match config.token_file.as_os_str().is_empty() {
            true => None,
            false => {
                let text = fs::read_to_string(&config.token_file);
                Some(text.map_err(|error| failed(error.to_string()))?.trim().to_owned())
            }
        };
        let upstream = Upstream::new(url, token).map_err(|error| failed(error.to_string()))?;
        let (jobs, asked, kept) = (Mutex::default(), Mutex::default(), Kept::default());
        let slots = Semaphore::new(SLOTS);
        Ok(Some(Self { config, upstream, jobs, asked, kept, slots }))
    }

    /// Whether a namespace is one of those that are fetched from upstream.
    fn has(&self, namespace: &str) -> bool {
        self.config.namespaces.iter().any(|name| name == ALL || name == namespace)
    }

    /// Returns what upstream has answered, where it need not be asked again yet.
    fn known(&self, wanted: &Wanted, here: bool) -> Outcome {
        if here && is_commit(&wanted.revision) {
            return Some(Ok(()));
        }
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, outcome) = asked.get(wanted)?;
        let lifetime = Duration::from_secs(self.config.lifetime);
        let holds = match outcome {
            // It may have been removed here.
            Ok(()) if !here => return None,
            Err(problem) if problem.status.is_server_error() => FAILED.min(lifetime),
            _ => lifetime,
        };
        (since.elapsed() < holds).then(|| outcome.clone())
    }

    fn note(&self, wanted: Wanted, outcome: Answer<()>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= REMEMBERED {
            asked.clear();
        }
        asked.insert(wanted, (Instant::now(), outcome));
    }

    /// Returns the job that fetches a revision, which is begun unless it runs.
    fn job(&self, hub: &Arc<Hub>, id: &RepoId, wanted: Wanted) -> watch::Receiver<Outcome> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(&wanted) {
            return job.clone();
        }
        let (sender, job) = watch::channel(None);
        jobs.insert(wanted.clone(), job.clone());
        let (hub, id) = (Arc::clone(hub), id.clone());
        tokio::spawn(async move {
            let Some(mirror) = &hub.mirror else { return };
            let work = AssertUnwindSafe(fetch::fetch(&hub, mirror, &id, &wanted)).catch_unwind();
            let outcome = work.await.unwrap_or_else(|_| Err(Problem::internal("a panic")));
            if let Err(problem) = &outcome {
                let (revision, cause) = (&wanted.revision, problem.cause());
                warn!(repo = %id.repo, revision, cause, "was not mirrored");
            }
            mirror.note(wanted.clone(), outcome.clone());
            mirror.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&wanted);
            let _ = sender.send(Some(outcome));
        });
        job
    }
}

/// The name that stands for all namespaces.
const ALL: &str = "*";

/// Sees to it that a revision that upstream has is here, for a caller who has a token. `patient` is
/// one who waits as long as it takes.
pub(crate) async fn ensure(
    call: &Arc<Call>,
    id: &RepoId,
    revision: &str,
    patient: bool,
) -> Answer<()> {
    let (Some(mirror), Some(token)) = (&call.hub.mirror, call.who.token()) else { return Ok(()) };
    if !mirror.has(&id.repo.namespace) {
        return Ok(());
    }
    let Ok(name) = stored(revision) else { return Ok(()) };
    if is_hidden(&name) {
        return Ok(());
    }
    let covers = token.covers(&id.repo.namespace);
    let wanted = Wanted { repo: id.repo.to_string(), revision: name.clone(), covers };
    let (hub, at) = (Arc::clone(&call.hub), id.repo.clone());
    let state = blocking(move || {
        if hub.owner(&at.namespace)? == Some(Owner::Local) {
            return Ok(None);
        }
        match hub.store.commit_of(&Revision { repo: at, revision: Some(of_upstream(&name)) }) {
            Ok(_) => Ok(Some(true)),
            Err(StoreError::NoRepo { .. } | StoreError::NoRevision { .. }) => Ok(Some(false)),
            Err(error) => Err(error.into()),
        }
    });
    let Some(here) = state.await? else { return Ok(()) };
    let outcome = match mirror.known(&wanted, here) {
        Some(outcome) => outcome,
        None => {
            let mut job = mirror.job(&call.hub, id, wanted);
            let wait = if patient { Duration::from_secs(24 * 3600) } else { HEAD };
            match tokio::time::timeout(wait, job.wait_for(Option::is_some)).await {
                Ok(outcome) => outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Ok(())),
                Err(_) => {
                    let message = "The repository is being fetched from upstream: try again";
                    Err(Problem::busy(message))
                }
            }
        }
    };
    match outcome {
        // What is here is served while upstream is away, and what it does not have is looked for
        // here: whoever does not see the repository does not learn about revisions of it.
        Err(_) if here => Ok(()),
        Err(problem) if problem.status == StatusCode::NOT_FOUND && !covers => Ok(()),
        outcome => outcome,
    }
}
