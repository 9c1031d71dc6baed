//! The entries of the log of a repository.

use std::collections::BTreeMap;

use at1w_container::Digest;
use serde::{Deserialize, Serialize};

use crate::hexadecimal;
use crate::meter::record::Recorded;
use crate::sum::with_sum;

/// The version of entries that this module writes and reads.
pub(crate) const VERSION: u32 = 1;

/// An entry of the log of a repository: what was done, and the state after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    pub(crate) version: u32,
    /// The number of the entry, from 0.
    pub seq: u64,
    /// A random name, by which its writer knows it again.
    pub(crate) id: String,
    /// The SHA-256 of the entry before; that of no bytes in the first one.
    #[serde(with = "hexadecimal")]
    pub(crate) prev: Digest,
    /// The time, in RFC 3339; never before that of the entry before.
    pub time: String,
    /// The time of the first entry.
    pub created: String,
    /// The user and machine that wrote it.
    pub actor: String,
    /// The kind of change.
    pub action: Action,
    /// The name of the repository, spelled as its creator spelled it.
    pub name: String,
    /// Whether the repository is there.
    pub state: State,
    /// All branches.
    pub branches: BTreeMap<String, Ref>,
    /// All tags.
    pub tags: BTreeMap<String, Ref>,
    /// All proposals that were ever made, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proposals: BTreeMap<u64, Proposal>,
    /// Whether only those may read it who may write to its namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The commit that the entry brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// The key of the request, which counts while this entry is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// The usage record that was written before the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recorded: Option<Recorded>,
}

/// The kind of change that an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// A commit.
    Push,
    /// A tag was made.
    Tag,
    /// A branch was made.
    Branch,
    /// A branch, a tag or the repository was removed.
    Remove,
    /// A branch, a tag or the repository was restored.
    Restore,
    /// Nothing: the collector has given up on a writer, whose entry finds this one in its place.
    /// Earlier versions took commits back instead.
    #[serde(alias = "withdraw")]
    Fence,
    /// The repository was given another name.
    Rename,
    /// A setting of the repository was changed.
    Settings,
    /// Another repository took the name; nothing follows.
    End,
}

impl Action {
    /// Returns the name, as entries and records have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Tag => "tag",
            Self::Branch => "branch",
            Self::Remove => "remove",
            Self::Restore => "restore",
            Self::Fence => "fence",
            Self::Rename => "rename",
            Self::Settings => "settings",
            Self::End => "end",
        }
    }
}

/// Whether a repository is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// It is there.
    Live,
    /// It was removed, and can be restored until it is collected.
    Deleted,
    /// Its log has ended.
    Ended,
}

/// A branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ref {
    /// The commit.
    pub commit: String,
    /// The number of the entry that brought it.
    pub seq: u64,
    /// The SHA-256 of its tree.
    #[serde(with = "hexadecimal")]
    pub tree: Digest,
    /// The copy of the tree that was written or found.
    pub(crate) copy: String,
    /// The number of files in the tree.
    pub files: u64,
    /// The length of the originals in the tree, in bytes.
    pub bytes: u64,
}

impl Ref {
    /// Returns what names a commit that entry `seq` brought.
    pub(crate) fn to(commit: &Commit, seq: u64) -> Self {
        let (id, tree, copy) = (commit.id.clone(), commit.tree, commit.copy.clone());
        Self { commit: id, seq, tree, copy, files: commit.files, bytes: commit.bytes }
    }
}

/// A commit: a tree, and the commit that it follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Commit {
    /// 40 hexadecimal digits.
    pub id: String,
    /// The commit before on its branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The SHA-256 of its tree.
    #[serde(with = "hexadecimal")]
    pub tree: Digest,
    pub(crate) copy: String,
    /// The message.
    pub message: String,
    /// The time, in RFC 3339.
    pub time: String,
    /// The user and machine that wrote it.
    pub author: String,
    /// The number of files in the tree.
    pub files: u64,
    /// The length of the originals in the tree, in bytes.
    pub bytes: u64,
    /// The number of bytes that were stored for it.
    pub stored: u64,
    /// A signature over the tree, in the format of minisign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Commit {
    /// Fills in the name, which is the SHA-256 of everything else, cut.
    pub(crate) fn named(mut self, entry: &str) -> Self {
        self.id = String::new();
        let json = serde_json::to_vec(&(&self, entry)).expect("a commit is plain data");
        self.id = Digest::of(&json).to_string()[..40].to_owned();
        self
    }
}

impl Entry {
    /// Returns the commit that the entry was written for, if that was the request with this key.
    pub fn done_for(&self, request: Option<&str>) -> Option<&Commit> {
        self.commit.as_ref().filter(|_| request.is_some() && self.request.as_deref() == request)
    }

    /// Whether a log has no repository: a fence is in the place of its first entry.
    pub(crate) fn is_of_none(&self) -> bool {
        self.seq == 0 && self.action == Action::Fence
    }

    /// Returns the entry as it is stored: with the SHA-256 of all of it, since nothing else covers
    /// the last entry of a log.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        with_sum(&serde_json::to_vec(self).expect("an entry is plain data"))
    }
}

/// A proposal: changes on a branch of their own, which wait to become part of `main`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proposal {
    /// What it is about, in a few words.
    pub title: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The one who made it.
    pub author: String,
    /// The time at which it was made, in RFC 3339.
    pub time: String,
    /// What became of it.
    pub status: Status,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// It waits on its branch.
    Open,
    /// It was refused. It can be opened again until its commits, of which this is the last one,
    /// are collected; not where its branch was removed before.
    Closed(Option<Ref>),
    /// It is part of `main` since this commit.
    Merged(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_earlier_versions_are_read() {
        let action: Action = serde_json::from_str("\"withdraw\"").unwrap();
        assert!(matches!(action, Action::Fence));
    }
}
