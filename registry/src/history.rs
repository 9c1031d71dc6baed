//! The commits that branches and tags lead to.

use std::collections::{HashMap, HashSet};

use crate::entry::{Commit, Entry};

/// All commits of a log, by name.
pub(crate) fn commits(entries: &[Entry]) -> HashMap<&str, &Commit> {
    entries
        .iter()
        .filter_map(|entry| Some((entry.commit.as_ref()?.id.as_str(), entry.commit.as_ref()?)))
        .collect()
}

/// Returns the commits that lead to some commit, that one and those before it.
pub(crate) fn ancestors<'a>(
    commits: &HashMap<&str, &'a Commit>,
    from: impl Iterator<Item = &'a str>,
) -> Vec<&'a Commit> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for mut id in from {
        while seen.insert(id) {
            let Some(&commit) = commits.get(id) else { break };
            found.push(commit);
            let Some(parent) = &commit.parent else { break };
            id = parent;
        }
    }
    found
}

/// Returns the commits that the branches and tags of an entry name.
pub(crate) fn tips(entry: &Entry) -> impl Iterator<Item = &str> {
    entry.branches.values().chain(entry.tags.values()).map(|found| found.commit.as_str())
}
