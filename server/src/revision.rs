//! Revisions as clients name them.

use at1w_registry::{Entry, Ref, Revision, Tree, check_ref, proposal_branch, proposal_number};

use crate::address::{RepoId, is_commit};
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::owner::Owner;

/// What the branches and tags begin with that are named by a commit of upstream.
const UPSTREAM: &str = "refs-at-";

/// Splits a revision from what follows. The slashes of `refs/pr/1` may come encoded or not.
pub(crate) fn split<'a>(segments: &'a [&'a str]) -> (String, &'a [&'a str]) {
    match segments {
        ["refs", kind @ ("pr" | "heads" | "tags"), name, rest @ ..] => {
            (format!("refs/{kind}/{name}"), rest)
        }
        [first, rest @ ..] => ((*first).into(), rest),
        [] => (at1w_registry::MAIN.into(), segments),
    }
}

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

/// Finds a revision of a repository, as clients know it.
pub(crate) fn find(hub: &Hub, id: &RepoId, entry: &Entry, revision: &str) -> Answer<Ref> {
    let mut found = find_stored(hub, id, entry, revision)?;
    if hub.owner(&id.repo.namespace)? != Some(Owner::Upstream) {
        return Ok(found);
    }
    // What was fetched from upstream keeps the name that it has there.
    let named = upstream_names(entry);
    // A branch that has gone back to an older commit is a new commit here, with the same tree.
    let same = named
        .clone()
        .find(|(_, other)| other.commit == found.commit)
        .or_else(|| named.clone().find(|(_, other)| other.tree == found.tree));
    if let Some((name, _)) = same {
        found.commit = name.into();
    }
    Ok(found)
}

/// Finds a revision of a repository, with the commit as the store knows it.
pub(crate) fn find_stored(hub: &Hub, id: &RepoId, entry: &Entry, revision: &str) -> Answer<Ref> {
    let name = stored(revision)?;
    let upstream = hub.owner(&id.repo.namespace)? == Some(Owner::Upstream);
    resolve(hub, id, entry, if upstream { of_upstream(&name) } else { name })
}

/// Checks that a revision is signed, where that is asked for.
pub(crate) fn check_signed(
    hub: &Hub,
    id: &RepoId,
    entry: &Entry,
    revision: &str,
    tree: &Tree,
) -> Answer<()> {
    let Some(signers) = &hub.signers else { return Ok(()) };
    signers.check(&hub.store, id, &find_stored(hub, id, entry, revision)?, tree)
}

/// Returns what was fetched from upstream, by the names that commits have there.
pub(crate) fn upstream_names(entry: &Entry) -> impl Iterator<Item = (&str, &Ref)> + Clone {
    let all = entry.tags.iter().chain(&entry.branches);
    all.filter_map(|(name, found)| Some((name.strip_prefix(UPSTREAM)?, found)))
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
