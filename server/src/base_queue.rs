//! The files that clients have committed, and whose bases nobody has looked for yet.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use at1w_container::Digest;
use tracing::warn;

/// The most files that are remembered, of all namespaces.
const MOST: usize = 1 << 17;

/// The files of commits that wait for bases to be looked for.
#[derive(Default)]
pub(crate) struct BaseQueue(Mutex<State>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, HashSet<Digest>>,
    number: usize,
    /// The files whose bases were looked for since they were stored. Naming one again costs a
    /// client nothing, and brings nothing.
    tried: HashSet<(String, Digest)>,
}

impl BaseQueue {
    /// Notes files of a commit, unless their bases were looked for already.
    pub(crate) fn note(&self, namespace: &str, files: &[Digest]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |file: &&Digest| !state.tried.contains(&(namespace.to_owned(), **file));
        let new: Vec<_> = files.iter().filter(new).copied().collect();
        state.add(namespace, &new);
    }

    /// Notes files that were taken and not looked at to the end.
    pub(crate) fn put_back(&self, namespace: &str, files: &HashSet<Digest>) {
        let files: Vec<_> = files.iter().copied().collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(namespace, &files);
    }

    /// Notes that bytes of a file came anew.
    pub(crate) fn note_stored(&self, namespace: &str, file: Digest) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.tried.remove(&(namespace.to_owned(), file));
    }

    /// Notes files whose bases were looked for.
    pub(crate) fn note_tried(&self, namespace: &str, files: HashSet<Digest>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tried.len() + files.len() > MOST {
            state.tried.clear();
        }
        state.tried.extend(files.into_iter().map(|file| (namespace.to_owned(), file)));
    }

    /// Returns the namespaces that have such files.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.files.keys().cloned().collect()
    }

    /// Takes the files of a namespace.
    pub(crate) fn take(&self, namespace: &str) -> HashSet<Digest> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let files = state.files.remove(namespace).unwrap_or_default();
        state.number -= files.len();
        files
    }
}

impl State {
    fn add(&mut self, namespace: &str, files: &[Digest]) {
        if files.is_empty() {
            return;
        }
        let known = self.files.entry(namespace.into()).or_default();
        for (at, &file) in files.iter().enumerate() {
            if self.number >= MOST {
                let left_out = files.len() - at;
                warn!(namespace, left_out, "too many new files: run store repack --base auto");
                break;
            }
            self.number += usize::from(known.insert(file));
        }
        if known.is_empty() {
            self.files.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_noted_once_until_it_is_stored_anew() {
        let (queue, file) = (BaseQueue::default(), Digest([1; 32]));
        let noted = |queue: &BaseQueue| {
            queue.note("lab", &[file]);
            queue.take("lab")
        };
        let files = noted(&queue);
        assert_eq!(files, HashSet::from([file]));
        queue.put_back("lab", &files);
        assert_eq!(queue.namespaces(), ["lab"]);
        assert_eq!(queue.take("lab"), files);
        queue.note_tried("lab", files.clone());
        assert!(noted(&queue).is_empty() && queue.namespaces().is_empty());
        queue.note_stored("lab", file);
        assert_eq!(noted(&queue), files);
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let queue = BaseQueue::default();
        let digest = |at: usize| Digest::of(&at.to_le_bytes());
        let files: Vec<_> = (0..MOST + 10).map(digest).collect();
        let (first, last) = files.split_at(MOST / 2);
        queue.note("a", first);
        queue.note("b", last);
        queue.note("c", &[digest(MOST + 20)]);
        assert_eq!(queue.namespaces(), ["a", "b"]);
        assert_eq!(queue.take("a").len() + queue.take("b").len(), MOST);
        queue.note("c", &[digest(MOST + 20)]);
        assert_eq!(queue.take("c").len(), 1);
    }
}
