//! Counting reads, which cost nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::keys;
use crate::meter::record::{Record, lines};
use crate::store::Store;
use crate::time::{hour, show_time};

/// What was read of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reads {
    /// The number of downloads.
    pub requests: u64,
    /// The number of bytes that were sent.
    pub sent: u64,
}

/// The number of objects that are read at a time.
const AT_A_TIME: usize = 256;

impl Store {
    /// Returns what servers have recorded as read in the hours of a period, by repository. Times
    /// are in seconds since 1970.
    ///
    /// # Errors
    /// Those of the store.
    pub fn reads(&self, period: Range<u64>) -> Result<BTreeMap<String, Reads>> {
        let (from, to) = (hour(&show_time(period.start)), hour(&show_time(period.end)));
        let mut reads: BTreeMap<String, Reads> = BTreeMap::new();
        let hours = self.objects.folders(keys::METER)?;
        for hour in hours.iter().filter(|hour| (&from..=&to).contains(hour)) {
            let listed = self.objects.list(&keys::records(hour))?;
            let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
            for some in listed.chunks(AT_A_TIME) {
                for (key, bytes) in some.iter().zip(self.objects.get_all(some)?) {
                    let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is missing"))?;
                    let records = lines(&bytes).map(|line| {
                        Record::parse(line).ok_or_else(|| Error::damaged(key, "it was changed"))
                    });
                    for record in records {
                        let record = record?;
                        if record.action != "read" {
                            continue;
                        }
                        let of = reads.entry(record.repo.unwrap_or_default()).or_default();
                        of.requests += record.requests;
                        of.sent += record.bytes_sent;
                    }
                }
            }
        }
        Ok(reads)
    }
}
