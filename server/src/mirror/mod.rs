//! Mirroring: a repository that is not here is fetched from upstream once, checked, packed and
//! kept.

mod counted;
mod fetch;
mod kept;
mod state;
mod upstream;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use at1w_registry::{Error as StoreError, Revision};
use axum::http::StatusCode;
use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::warn;

pub(crate) use self::state::Mirror;
use self::state::{Outcome, Wanted};
use crate::address::RepoId;
use crate::call::{Call, blocking};
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::revision::{is_hidden, of_upstream, stored};

/// How long a client waits for the headers of a file: less than its patience.
const HEAD: Duration = Duration::from_secs(8);

impl Mirror {
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

/// Sees to it that a revision that upstream has is here, for a caller who has a token. `patient` is
/// one who waits as long as it takes.
pub(crate) async fn ensure(
    call: &Arc<Call>,
    id: &RepoId,
    revision: &str,
    patient: bool,
) -> Answer<()> {
    let (Some(mirror), Some(token)) = (&call.hub.mirror, call.who.token()) else { return Ok(()) };
    let Ok(name) = stored(revision) else { return Ok(()) };
    if is_hidden(&name) {
        return Ok(());
    }
    let covers = token.covers(&id.repo.namespace);
    // Upstream minds how a name is spelled.
    let repo = format!("{} {}", id.repo, id.shown());
    let wanted = Wanted { repo, revision: name.clone(), covers };
    let (hub, at, role) = (Arc::clone(&call.hub), id.repo.clone(), token.role);
    let state = blocking(move || {
        let owner = hub.owner(&at.namespace)?;
        let mirror = hub.mirror.as_ref();
        if !mirror.is_some_and(|mirror| mirror.allows(&at.namespace, owner, role)) {
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
