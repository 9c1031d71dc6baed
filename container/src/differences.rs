//! Two lists of tensors, compared by name and content.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The differences of two lists, whose entries are the same where they are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Differences<T> {
    /// The names of entries that both have.
    pub same: Vec<String>,
    /// The entries that both have under one name, with different content: the old one and the new.
    pub changed: BTreeMap<String, (T, T)>,
    /// The entries that are gone.
    pub removed: BTreeMap<String, T>,
    /// The entries that came.
    pub added: BTreeMap<String, T>,
    /// The entries that have another name now: the old one and the new.
    pub renamed: Vec<(String, String)>,
}

impl<T: Clone + Eq + Hash> Differences<T> {
    /// Compares an old list with a new one.
    ///
    /// # Examples
    /// ```
    /// use at1w_container::Differences;
    ///
    /// let old = [("a".into(), 1), ("b".into(), 2), ("c".into(), 3)].into();
    /// let new = [("a".into(), 1), ("b".into(), 7), ("d".into(), 3)].into();
    /// let found = Differences::of(old, new);
    /// assert_eq!(found.same, ["a"]);
    /// assert_eq!(found.changed["b"], (2, 7));
    /// assert_eq!(found.renamed, [("c".into(), "d".into())]);
    /// assert!(found.removed.is_empty() && found.added.is_empty());
    /// ```
    pub fn of(old: BTreeMap<String, T>, mut new: BTreeMap<String, T>) -> Self {
        let (mut same, mut changed, mut removed) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (mut renamed, mut gone) = (Vec::new(), Vec::new());
        for (name, from) in old {
            match new.remove(&name) {
                Some(to) if to == from => same.push(name),
                Some(to) => _ = changed.insert(name, (from, to)),
                None => gone.push((name, from)),
            }
        }
        // Among several entries with one content, the first names are paired.
        let mut by_entry = HashMap::<T, Vec<String>>::new();
        for (name, entry) in new.iter().rev() {
            by_entry.entry(entry.clone()).or_default().push(name.clone());
        }
        for (from, entry) in gone {
            match by_entry.get_mut(&entry).and_then(Vec::pop) {
                Some(to) => {
                    new.remove(&to);
                    renamed.push((from, to));
                }
                None => _ = removed.insert(from, entry),
            }
        }
        Self { same, changed, removed, added: new, renamed }
    }
}
