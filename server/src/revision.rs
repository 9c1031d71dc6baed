//! Revisions as clients name them.

use at1w_registry::{Entry, Ref, Revision, check_ref, proposal_branch, proposal_number};

use crate::address::RepoId;
use crate::claim::Owner;
use crate::error::{Answer, Problem};
use crate::hub::Hub;

/// What the branches and tags begin with that are named by a commit of upstream.
const UPSTREAM: &str = "refs-at-";

/// Returns the branch or tag for a revision of upstream.
pub(crate) fn of_upstream(revision: &str) -> String {
    let prefix = if is_commit(revision) { UPSTREAM } else { "" };
    format!("{prefix}{revision}")
}

/// Whether a branch or tag is one that clients do not name as it is stored.
pub(crate) fn is_hidden(name: &str) -> bool {
    proposal_number(name).is_some() || name.starts_with(UPSTREAM)
}

/// Returns the branch, tag or commit of the store that a client names.
pub(crate) fn stored(revision: &str) -> Answer<String> {
    let name = match revision.strip_prefix("refs/pr/") {
        Some(number) => {
            proposal_branch(number.parse().map_err(|_| Problem::no_revision(revision))?)
        }
        None => {
            let short = revision.strip_prefix("refs/heads/");
            short.or_else(|| revision.strip_prefix("refs/tags/")).unwrap_or(revision).to_owned()
        }
    };
    check_ref(&name).map_err(|_| Problem::no_revision(revision))?;
    Ok(name)
}

/// Finds a revision of a repository.
pub(crate) fn find(hub: &Hub, id: &RepoId, entry: &Entry, revision: &str) -> Answer<Ref> {
    let name = stored(revision)?;
    if hub.owner(&id.repo.namespace)? != Some(Owner::Upstream) {
        return resolve(hub, id, entry, name);
    }
    let mut found = resolve(hub, id, entry, of_upstream(&name))?;
    // What was fetched from upstream keeps the name that it has there.
    let Entry { branches, tags, .. } = entry;
    let named = || {
        let all = tags.iter().chain(branches);
        all.filter_map(|(name, other)| Some((name.strip_prefix(UPSTREAM)?, other)))
    };
    // A branch that has gone back to an older commit is a new commit here, with the same tree.
    let same = named()
        .find(|(_, other)| other.commit == found.commit)
        .or_else(|| named().find(|(_, other)| other.tree == found.tree));
    if let Some((name, _)) = same {
        found.commit = name.into();
    }
    Ok(found)
}

/// Whether a name is one of a commit.
pub(crate) fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn resolve(hub: &Hub, id: &RepoId, entry: &Entry, name: String) -> Answer<Ref> {
    let Entry { branches, tags, .. } = entry;
    if let Some(found) = branches.get(&name).or_else(|| tags.get(&name)) {
        return Ok(found.clone());
    }
    let mut all = branches.values().chain(tags.values());
    if let Some(found) = all.find(|found| found.commit == name) {
        return Ok(found.clone());
    }
    let wanted = Revision { repo: id.repo.clone(), revision: Some(name) };
    Ok(hub.store.tree(&wanted)?.0)
}
