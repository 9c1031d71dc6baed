//! The commits of repositories, and what they sum up to over time.

use std::sync::Arc;

use at1w_registry::{Commit, Entry, Revision};

use crate::address::RepoId;
use crate::error::Answer;
use crate::hub::Hub;

/// The commits that the branches and tags of a repository lead to.
pub(crate) struct History {
    /// The commits, the last one first.
    pub(crate) commits: Vec<Commit>,
}

/// What a repository has come to by some commit. Lengths are in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    /// The originals of all commits until then: a file counts in each.
    pub(crate) logical: u64,
    /// What was stored for them.
    pub(crate) stored: u64,
}

impl History {
    /// Returns the history of a repository, whose last entry is `entry`.
    pub(crate) fn of(hub: &Hub, id: &RepoId, entry: &Entry) -> Answer<Arc<Self>> {
        hub.history(&format!("{}#{}#{}", entry.name, entry.created, entry.seq), || {
            let all = Revision { repo: id.repo.clone(), revision: None };
            Ok(Self { commits: hub.store.history(&all)?.1 })
        })
    }

    /// Returns the memory that it takes, about.
    pub(crate) fn weight(&self) -> u64 {
        let own = |commit: &Commit| 512 + commit.message.len() as u64;
        self.commits.iter().map(own).sum()
    }

    /// Returns what each commit has brought, the first one first: when, and how much.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&str, Sum)> {
        let step = |commit: &Commit| Sum { logical: commit.bytes, stored: commit.stored };
        self.commits.iter().rev().map(move |commit| (commit.time.as_str(), step(commit)))
    }

    /// Returns what all commits come to.
    pub(crate) fn sum(&self) -> Sum {
        self.steps().fold(Sum::default(), |sum, (_, step)| sum.and(step))
    }
}

impl Sum {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            logical: self.logical.saturating_add(other.logical),
            stored: self.stored.saturating_add(other.stored),
        }
    }
}
