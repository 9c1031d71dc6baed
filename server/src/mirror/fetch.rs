//! Fetching a revision: its files, each checked, and the commit that has them.

use std::collections::HashSet;
use std::sync::Arc;

use at1w_registry::{Change, Error as StoreError, Expected, PushOptions, Revision, check_path};
use axum::http::StatusCode;
use serde_json::json;
use tempfile::TempPath;
use tracing::info;

use super::state::{Mirror, Wanted};
use super::upstream::{Described, Sibling, gated, unreachable};
use crate::address::{RepoId, is_commit};
use crate::body::{Quota, Writing};
use crate::call::{blocking, worked};
use crate::commit;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::keep::keep;
use crate::owner::Owner;
use crate::revision::of_upstream;

/// The number of times that a commit is made anew after another server was faster.
const TRIES: usize = 3;

/// A file on the staging disk, with its share of it.
type Staged = (TempPath, Quota);

/// Fetches a revision, and commits it.
pub(super) async fn fetch(
    hub: &Arc<Hub>,
    mirror: &Mirror,
    id: &RepoId,
    wanted: &Wanted,
) -> Answer<()> {
    let described = {
        let _slot = mirror.asking.acquire().await.map_err(Problem::internal)?;
        mirror.upstream.describe(id, &wanted.revision).await?
    };
    if !is_commit(&described.sha) {
        return Err(unreachable("it names a commit that is none"));
    }
    let hidden = described.private || described.is_gated();
    if hidden && !(mirror.config.private && wanted.covers) {
        let (hub, id) = (Arc::clone(hub), id.clone());
        blocking(move || conceal(&hub, &id)).await?;
        return Err(if described.private { Problem::no_repo() } else { gated() });
    }
    let (asked, of, at) = (Arc::clone(hub), id.clone(), wanted.revision.clone());
    let sha = described.sha.clone();
    if blocking(move || is_here(&asked, &of, &at, &sha, hidden)).await? {
        return Ok(());
    }
    let _slot = mirror.slots.acquire().await.map_err(Problem::internal)?;
    let (asked, of) = (Arc::clone(hub), id.clone());
    let (described, coming) = blocking(move || {
        let Some(mirror) = &asked.mirror else { return Err(Problem::no_repo()) };
        let coming = mirror.kept.reserve(&asked, &of, &described.siblings)?;
        asked.claim(&of.repo.namespace, Owner::Upstream)?;
        Ok((described, coming))
    })
    .await?;
    let (mut changes, mut files) = (Vec::new(), Vec::new());
    for sibling in &described.siblings {
        let (change, file) = fetch_file(hub, mirror, id, &described.sha, sibling).await?;
        changes.push((sibling.rfilename.clone(), change));
        files.extend(file);
    }
    let Described { sha, .. } = described;
    info!(repo = %id.repo, revision = wanted.revision, sha, "mirrored");
    let slots = Arc::clone(&hub.committing);
    let (hub, id, name) = (Arc::clone(hub), id.clone(), wanted.revision.clone());
    worked(&slots, move || {
        let _coming = coming;
        commit(&hub, &id, &name, &sha, hidden, changes, files)
    })
    .await
}

/// Hides what is here of a repository that upstream has hidden: only those who may read all of its
/// namespace find it from now on.
fn conceal(hub: &Hub, id: &RepoId) -> Answer<()> {
    match hub.store.entry(&id.repo) {
        Ok(entry) if !entry.private && hub.owner(&id.repo.namespace)? == Some(Owner::Upstream) => {
            record(hub, id, json!({ "private": true }))?;
            Ok(hub.store.acting_as("mirror").set_private(&id.repo, true)?)
        }
        Ok(_) | Err(StoreError::NoRepo { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a revision is here as upstream has it.
fn is_here(hub: &Hub, id: &RepoId, name: &str, sha: &str, hidden: bool) -> Answer<bool> {
    let entry = match hub.store.entry(&id.repo) {
        Err(StoreError::NoRepo { .. }) => return Ok(false),
        entry => entry?,
    };
    let (branch, known) = (of_upstream(name), of_upstream(sha));
    let known = entry.tags.get(&known).or_else(|| entry.branches.get(&known));
    let here = entry.branches.get(&branch);
    Ok(entry.private == hidden
        && here.is_some_and(|here| Some(&here.commit) == known.map(|at| &at.commit)))
}

fn record(hub: &Hub, id: &RepoId, more: serde_json::Value) -> Answer<()> {
    hub.audit(json!({
        "actor": "mirror",
        "action": "mirror",
        "repo": id.repo.to_string(),
        "more": more,
    }))
}

/// Fetches a file, and checks that it is the one that upstream has described.
async fn fetch_file(
    hub: &Arc<Hub>,
    mirror: &Mirror,
    id: &RepoId,
    sha: &str,
    sibling: &Sibling,
) -> Answer<(Change, Option<Staged>)> {
    let path = &sibling.rfilename;
    check_path(path).map_err(|error| unreachable(&error.to_string()))?;
    let namespace = id.repo.namespace.clone();
    let sha256 = sibling.sha256();
    if sibling.lfs.is_some() && sha256.is_none() {
        return Err(unreachable("it names no SHA-256"));
    }
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
    let mut pieces = mirror.upstream.file(id, sha, path).await?;
    let git = sha256.is_none().then_some(sibling.size);
    let mut writing = Writing::begin(hub, git).await?;
    let mut len = 0_u64;
    while let Some(piece) = pieces.next().await? {
        len += piece.len() as u64;
        if len > sibling.size {
            return Err(unreachable(&format!("{path} is longer than it said")));
        }
        writing = writing.add(&piece).await?;
    }
    let (file, actual, blob) = writing.end().await?;
    let right = match sha256 {
        Some(sha256) => sha256 == actual,
        None => blob.is_some() && blob == sibling.blob_id,
    };
    if !right || len != sibling.size {
        return Err(unreachable(&format!("{path} is not what it said")));
    }
    if sha256.is_none() {
        let file = file.into_temp_path();
        return Ok((Change::Add(file.to_path_buf()), Some((file, quota))));
    }
    let keeper = Arc::clone(hub);
    let work = move || {
        let _quota = quota;
        keep(&keeper, &namespace, actual, file.path(), &())
    };
    hub.packing.worked("mirror", work).await?;
    Ok((Change::Stored(actual), None))
}

/// Makes the revision: the branch becomes what upstream has, in one step, and has the name that
/// upstream gives the commit as well.
fn commit(
    hub: &Hub,
    id: &RepoId,
    name: &str,
    sha: &str,
    hidden: bool,
    mut changes: Vec<(String, Change)>,
    _files: Vec<Staged>,
) -> Answer<()> {
    record(hub, id, json!({ "revision": name, "commit": sha, "private": hidden }))?;
    let store = hub.store.acting_as("mirror");
    let (branch, tag) = (of_upstream(name), of_upstream(sha));
    let message = format!("as upstream has it at {sha}");
    let wanted: HashSet<_> = changes.iter().map(|(path, _)| path.clone()).collect();
    let fetched = changes.len();
    let mut tries = 0;
    let pushed = loop {
        tries += 1;
        let entry = match store.entry(&id.repo) {
            Err(StoreError::NoRepo { .. }) => None,
            entry => Some(entry?),
        };
        let before = entry.as_ref().and_then(|entry| entry.branches.get(&branch));
        changes.truncate(fetched);
        if let Some(before) = before {
            let tree = hub.tree(&id.repo.namespace, before)?;
            let gone = tree.files.keys().filter(|path| !wanted.contains(*path));
            changes.extend(gone.map(|path| (path.clone(), Change::Remove)));
        }
        let expected = before.map_or(Expected::New(None), |before| Expected::At(&before.commit));
        let options = PushOptions::new().branch(&branch).message(&message).private(hidden);
        let options = options.level(hub.config.level).expected(expected);
        let raced = [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
        match commit::apply(hub, &store, id, &changes, &options) {
            Err(problem) if tries < TRIES && raced.contains(&problem.status) => {}
            // Files that cannot be kept beside each other are no fault of the one who asks.
            Err(problem) if problem.status.is_client_error() => {
                return Err(unreachable(problem.message()));
            }
            pushed => break pushed?,
        }
    };
    if name != sha {
        let at = Revision { repo: id.repo.clone(), revision: Some(pushed.commit) };
        match store.tag(&at, &tag) {
            Ok(_) | Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // A commit that changes nothing changes no settings.
    if store.entry(&id.repo)?.private != hidden {
        store.set_private(&id.repo, hidden)?;
    }
    Ok(())
}
