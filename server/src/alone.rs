//! The files that clients have committed, and whose bases nobody has looked for yet.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use at1w_container::Digest;
use tracing::warn;

/// The most files of a namespace that are remembered.
const MOST: usize = 1 << 16;

/// The files of commits that are stored by themselves, by namespace.
#[derive(Default)]
pub(crate) struct Alone(Mutex<BTreeMap<String, HashSet<Digest>>>);

impl Alone {
    pub(crate) fn note(&self, namespace: &str, files: &[Digest]) {
        if files.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(namespace.into()).or_default();
        for (at, &file) in files.iter().enumerate() {
            if known.len() >= MOST {
                let left_out = files.len() - at;
                warn!(namespace, left_out, "too many new files: run store repack --base auto");
                break;
            }
            known.insert(file);
        }
    }

    pub(crate) fn take(&self) -> BTreeMap<String, HashSet<Digest>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
