//! The messages by which `at1w` pushes and pulls by way of a server. Digests are texts in them, in
//! hexadecimal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::{Commit, Entry};
use crate::outline::StoredTensor;
use crate::push::Pushed;
use crate::stats::Summary;
use crate::tree::File;

/// The most keys of tensors that one question names.
pub const TENSORS: usize = 50_000;

/// The most files that one question names: each takes some requests to the store.
pub const FILES: usize = 500;

/// Asks for what a namespace has of files, by their SHA-256, and of tensors, by their keys.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Question {
    /// The files.
    #[serde(default)]
    pub files: Vec<String>,
    /// The tensors.
    #[serde(default)]
    pub tensors: Vec<String>,
}

/// The answer to a [`Question`], in its order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Stock {
    /// The facts about each file that is stored whole.
    pub files: Vec<Option<File>>,
    /// The lengths of the stored bytes of each tensor that may be relied on.
    pub tensors: Vec<Option<StoredTensor>>,
}

/// A commit, and the bytes that the SHA-256 of its tree is of.
#[derive(Debug, Serialize, Deserialize)]
pub struct Described {
    /// The commit.
    pub commit: Commit,
    /// The tree, for [`crate::Tree::parse`].
    pub tree: String,
}

/// Repositories, and what their namespaces held when they were last collected.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The last entries of the repositories.
    pub repositories: Vec<Entry>,
    /// The summaries of the namespaces that the caller may write to, by name.
    pub namespaces: BTreeMap<String, Summary>,
}

/// The last entry of a repository, and the commits that lead to a revision.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    /// The entry.
    pub entry: Entry,
    /// The commits, the last one first.
    pub commits: Vec<Commit>,
}

/// Wishes for a commit. The bytes of its small files follow, back to back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Wish {
    /// The branch.
    pub branch: String,
    /// The message.
    #[serde(default)]
    pub message: String,
    /// The revision that the commit is made for, where the caller names one.
    pub parent: Option<String>,
    /// The commit that the branch was at when the caller looked; without one there was no branch.
    pub base: Option<String>,
    /// Whether the branch has to be there still when the commit is made.
    #[serde(default)]
    pub exact: bool,
    /// The files that are new, or other ones than before.
    pub files: Vec<Wished>,
    /// The paths of those that are removed.
    #[serde(default)]
    pub removed: Vec<String>,
    /// The SHA-256 of the tree that the commit has to have, and the signature of that.
    pub signature: Option<(String, String)>,
}

/// A file of a [`Wish`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Wished {
    /// The path.
    pub path: String,
    /// The SHA-256.
    pub sha256: String,
    /// The length of the file where its bytes follow; without it the file is stored already.
    pub len: Option<u64>,
}

/// A branch or a tag to make or to remove.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Named {
    /// The revision that it begins at, or that is removed or restored; the whole repository
    /// without one.
    pub revision: Option<String>,
    /// The name of a new one.
    #[serde(default)]
    pub name: String,
}

/// The outcome of a commit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Committed {
    /// The commit that the branch is at.
    pub commit: String,
    /// The SHA-256 of its tree.
    pub tree: String,
    /// Whether there is a new commit.
    pub new: bool,
    /// The number of bytes that were stored with the commit itself.
    pub stored: u64,
    /// The number of damaged places that were healed.
    pub healed: u64,
}

impl From<&Pushed> for Committed {
    fn from(pushed: &Pushed) -> Self {
        let Pushed { commit, tree, new, stored, healed, .. } = pushed;
        let (commit, tree) = (commit.clone(), tree.to_string());
        Self { commit, tree, new: *new, stored: *stored, healed: *healed }
    }
}
