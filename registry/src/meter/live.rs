//! The files that are under management now.

use std::collections::HashMap;

use at1w_container::Digest;

use crate::error::Result;
use crate::history::{ancestors, commits, tips};
use crate::keys;
use crate::log::{self, Head};
use crate::mark::read_trees;
use crate::name::RepoName;
use crate::store::Store;

impl Store {
    /// Returns the length of each file of a namespace to which a branch or a tag leads: what they
    /// add up to is its unique bytes.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`], [`crate::Error::Log`], and those of the store.
    pub fn live_files(&self, namespace: &str) -> Result<HashMap<Digest, u64>> {
        let mut files = HashMap::new();
        let listed = self.objects.list(&format!("{}/{namespace}", keys::REPOS))?;
        if listed.is_empty() {
            return Ok(files);
        }
        for entry in self.repos(Some(namespace))? {
            let repo: RepoName = entry.name.parse()?;
            let Some(head) = Head::find(&self.objects, &repo)?.filter(Head::is_live) else {
                continue;
            };
            let entries = log::read_all(&self.objects, &head.log, head.entry.seq)?;
            let known = commits(&entries);
            let live = ancestors(&known, tips(&head.entry));
            read_trees(self, namespace, live.into_iter(), |_, tree| {
                files.extend(tree?.files.values().map(|file| (file.sha256, file.size)));
                Ok(())
            })?;
        }
        Ok(files)
    }
}
