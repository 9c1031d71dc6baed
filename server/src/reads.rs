//! Counting what is read of each repository. Reads are recorded now and then, and cost nothing.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, PoisonError};

use at1w_registry::{Record, Store};

/// What was read of each repository since it was last recorded: downloads, and their bytes.
#[derive(Default)]
pub(crate) struct Reads(Mutex<BTreeMap<String, (u64, u64)>>);

/// The repository that an answer is read from.
#[derive(Clone)]
pub(crate) struct ReadOf(pub(crate) String);

impl Reads {
    /// Counts a download, or bytes of one.
    pub(crate) fn count(&self, repo: &str, requests: u64, bytes: u64) {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reads.entry(repo.into()).or_default();
        read.0 += requests;
        read.1 += bytes;
    }

    /// Records what was read. What cannot be recorded is kept until the next time.
    pub(crate) fn record(&self, store: &Store) -> at1w_registry::Result<()> {
        let reads = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let record = |(repo, (requests, bytes)): (&String, &(u64, u64))| {
            let mut record = Record::new("read", "");
            record.repo = Some(repo.clone());
            record.requests = *requests;
            record.bytes_sent = *bytes;
            record
        };
        let records: Vec<_> = reads.iter().map(record).collect();
        let recorded = store.record(&records);
        if recorded.is_err() {
            reads.iter().for_each(|(repo, read)| self.count(repo, read.0, read.1));
        }
        recorded
    }
}
