//! How much of upstream is kept here, and how much may be.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::counted::{Coming, Counted, Kept};
use super::upstream::Sibling;
use crate::address::RepoId;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::owner::Owner;

impl Kept {
    /// Takes a share for those files of a revision that are not kept yet.
    pub(super) fn reserve(&self, hub: &Hub, id: &RepoId, files: &[Sibling]) -> Answer<Coming> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (quota, coming) = (hub.config.mirror.quota, self.coming.load(Ordering::Relaxed));
        counted.update(hub)?;
        let mut new = counted.missing(&id.repo.namespace, files);
        let full = |counted: &Counted, new: u64| {
            counted.bytes.saturating_add(coming).saturating_add(new) > quota
        };
        if full(&counted, new) {
            // Repositories may have been removed since they were counted.
            *counted = Counted::default();
            counted.update(hub)?;
            new = counted.missing(&id.repo.namespace, files);
        }
        if full(&counted, new) {
            let message = format!("{} needs {new} bytes: the quota for mirroring is full", id.repo);
            return Err(Problem::forbidden(message));
        }
        self.coming.fetch_add(new, Ordering::Relaxed);
        Ok(Coming { all: Arc::clone(&self.coming), bytes: new })
    }
}

impl Counted {
    /// Counts the trees that were not counted before. All that was ever fetched is a branch or a
    /// tag.
    fn update(&mut self, hub: &Hub) -> Answer<()> {
        for entry in hub.store.repos(None)? {
            let namespace = entry.name.split('/').next().unwrap_or_default();
            if hub.owner(namespace)? != Some(Owner::Upstream) {
                continue;
            }
            for found in entry.branches.values().chain(entry.tags.values()) {
                if !self.trees.insert((namespace.to_owned(), found.tree)) {
                    continue;
                }
                let Ok(tree) = hub.tree(namespace, found) else {
                    self.bytes = self.bytes.saturating_add(found.bytes);
                    continue;
                };
                for file in tree.files.values() {
                    if self.files.insert((namespace.to_owned(), file.sha256)) {
                        self.bytes = self.bytes.saturating_add(file.size);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the bytes of files that are not kept. Small ones, of which nobody says a SHA-256,
    /// count as such.
    fn missing(&self, namespace: &str, files: &[Sibling]) -> u64 {
        let mut seen = HashSet::new();
        let missing = files.iter().filter(|file| match file.sha256() {
            Some(sha256) => {
                seen.insert(sha256) && !self.files.contains(&(namespace.to_owned(), sha256))
            }
            None => true,
        });
        missing.fold(0, |sum, file| sum.saturating_add(file.size))
    }
}
