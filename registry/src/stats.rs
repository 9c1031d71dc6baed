//! What a store holds: sizes by namespace.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use at1w_remote::Meta;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys;
use crate::mark::{Marked, mark};
use crate::store::Store;
use crate::time::rfc3339;

/// What a namespace holds. Lengths are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The time at which it was so.
    pub time: String,
    /// The number of repositories.
    pub repos: u64,
    /// The number of commits that are kept.
    pub commits: u64,
    /// The length of the originals of all these commits: a file counts in each.
    pub logical: u64,
    /// The length of the originals, each once.
    pub unique: u64,
    /// The length of everything that is stored.
    pub stored: u64,
    /// The part of it that is in use.
    pub used: u64,
    /// The length of what the collector has deleted so far.
    #[serde(default)]
    pub freed: u64,
}

/// Writes the summary of a namespace, and deletes those before.
pub(crate) fn write_summary(
    store: &Store,
    namespace: &str,
    marked: &Marked,
    listed: &[Meta],
    freed: u64,
) -> Result<()> {
    let folder = keys::summaries(namespace);
    let before: Vec<_> = store.objects.list(&folder)?.into_iter().map(|meta| meta.key).collect();
    let known = store.summaries(Some(namespace))?;
    let freed = freed + known.iter().map(|(_, summary)| summary.freed).sum::<u64>();
    let summary = Summary { freed, ..summary(marked, listed) };
    let json = serde_json::to_vec(&summary).expect("a summary is plain data");
    let last = before.last().map(|key| keys::last_part(key));
    store.objects.put(&format!("{folder}/{}", keys::next(last)), json)?;
    Ok(store.objects.delete(&before)?)
}

fn summary(marked: &Marked, listed: &[Meta]) -> Summary {
    let unique: HashMap<_, _> =
        marked.files(|_| true).map(|file| (file.sha256, file.size)).collect();
    let logical = marked.commits.iter().fold(0_u64, |sum, in_use| sum.saturating_add(in_use.bytes));
    Summary {
        time: rfc3339(SystemTime::now()),
        repos: marked.repos,
        commits: marked.commits.len() as u64,
        logical,
        unique: unique.values().sum(),
        stored: listed.iter().map(|meta| meta.len).sum(),
        used: marked.places.values().flatten().map(|place| place.len).sum(),
        freed: 0,
    }
}

impl Store {
    /// Returns the last summaries of all namespaces, or of one, by one request for each; the
    /// collector writes them.
    ///
    /// # Errors
    /// Those of the store.
    pub fn summaries(&self, namespace: Option<&str>) -> Result<Vec<(String, Summary)>> {
        let folder = namespace.map_or_else(|| "summaries".into(), keys::summaries);
        let mut last = HashMap::new();
        for meta in self.objects.list(&folder)? {
            let name = meta.key.split('/').nth(1).unwrap_or_default().to_owned();
            last.insert(name, meta.key);
        }
        let mut summaries = Vec::new();
        for (name, key) in last {
            // One that was listed may be replaced by now.
            let Some(bytes) = self.objects.get(&key)? else { continue };
            let summary =
                serde_json::from_slice(&bytes).map_err(|error| Error::damaged(&key, error))?;
            summaries.push((name, summary));
        }
        summaries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(summaries)
    }

    /// Reads all logs, trees and recipes, and returns what each namespace holds now.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Log`], and those of the store.
    pub fn stats(&self) -> Result<Vec<(String, Summary)>> {
        self.require()?;
        let mut all = Vec::new();
        for namespace in self.namespaces()? {
            let mut listed = Vec::new();
            for folder in
                [keys::packs(&namespace), keys::files(&namespace), keys::trees(&namespace)]
            {
                listed.extend(self.objects.list(&folder)?);
            }
            // One at a time is in memory.
            let marked = mark(self, Some(&namespace), self.now()?, Duration::ZERO)?;
            all.extend(
                marked.iter().map(|(name, marked)| (name.clone(), summary(marked, &listed))),
            );
        }
        Ok(all)
    }
}
