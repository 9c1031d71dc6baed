//! A revision of a repository that a page is about.

use std::sync::Arc;

use at1w_registry::{Entry, File, MAIN, Ref, Tree};

use crate::address::{RepoId, encode};
use crate::call::Call;
use crate::error::Answer;
use crate::revision::{check_signed, find, is_hidden};

/// A revision of a repository that the caller may read.
pub(super) struct Place {
    pub(super) id: RepoId,
    pub(super) entry: Entry,
    /// The revision as the address names it.
    pub(super) revision: String,
    /// The revision, with the name of the commit as clients know it.
    pub(super) found: Ref,
    pub(super) tree: Arc<Tree>,
}

impl Place {
    /// Finds a revision; where none is named that is `main`, or the first branch or tag.
    pub(super) fn find(call: &Call, id: RepoId, revision: Option<&str>) -> Answer<Self> {
        let entry = call.who.read(&call.hub, &id)?;
        let mut all =
            entry.branches.keys().chain(entry.tags.keys()).filter(|name| !is_hidden(name));
        let named = revision.or_else(|| entry.branches.contains_key(MAIN).then_some(MAIN));
        let revision = named.or_else(|| all.next().map(String::as_str)).unwrap_or(MAIN).to_owned();
        let found = find(&call.hub, &id, &entry, &revision)?;
        let tree = call.hub.tree(&id.repo.namespace, &found)?;
        Ok(Self { id, entry, revision, found, tree })
    }

    /// Checks that the revision is signed, where that is asked for: the content of files is shown
    /// to those alone who may have it.
    pub(super) fn check_signed(&self, call: &Call) -> Answer<()> {
        check_signed(&call.hub, &self.id, &self.entry, &self.revision, &self.tree)
    }

    pub(super) fn namespace(&self) -> &str {
        &self.id.repo.namespace
    }

    /// Returns the address of a page of the revision.
    pub(super) fn page(&self, page: &str) -> String {
        format!("{}/{page}/{}", address(&self.id), encode(&self.revision))
    }

    /// Returns the address of a file of the revision: its page (`blob`), or its bytes (`resolve`).
    pub(super) fn file(&self, way: &str, path: &str) -> String {
        let parts: Vec<String> = path.split('/').map(encode).collect();
        format!("{}/{}", self.page(way), parts.join("/"))
    }

    /// Returns the packed files, by path.
    pub(super) fn packed(&self) -> impl Iterator<Item = (&String, &File)> {
        self.tree.files.iter().filter(|(_, file)| file.root.is_some())
    }
}

/// Returns the address of a repository.
pub(super) fn address(id: &RepoId) -> String {
    let shown = id.shown();
    let (namespace, name) = shown.split_once('/').unwrap_or((&shown, ""));
    format!("/{}{}/{}", id.kind.folder(), encode(namespace), encode(name))
}
