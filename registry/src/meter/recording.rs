//! Recording what is done, before it is acknowledged.

use crate::entry::Entry;
use crate::error::Result;
use crate::lease::Lease;
use crate::log::{Appended, append_held};
use crate::meter::record::Record;
use crate::store::Store;

impl Store {
    /// Records an entry, and appends it to a log. Each entry names its record, so that none of
    /// either can be taken away unnoticed; a record whose entry never came was not acknowledged.
    pub(crate) fn append_recorded(
        &self,
        lease: &Lease,
        place: (&str, u32),
        entry: &Entry,
    ) -> Result<Appended> {
        let mut record = Record::new(entry.action.name(), &entry.actor);
        record.request.clone_from(&self.caller.request);
        record.token_id.clone_from(&self.caller.token);
        record.repo = Some(entry.name.clone());
        record.entry = Some(entry.id.clone());
        record.status = "recorded".into();
        if let Some(commit) = &entry.commit {
            record.revision = Some(commit.id.clone());
            record.sha256 = Some(commit.tree.to_string());
            record.bytes_logical = commit.bytes;
            record.bytes_stored = commit.stored;
        }
        let recorded = self.recorder.write(&self.objects, lease.now(), &[record])?;
        let entry = Entry { recorded: Some(recorded), ..entry.clone() };
        append_held(&self.objects, lease, place, &entry)
    }

    /// Writes usage records that are about no entry of a log.
    ///
    /// # Errors
    /// Those of the store.
    pub fn record(&self, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.recorder.write(&self.objects, self.now()?, records).map(drop)
    }
}
