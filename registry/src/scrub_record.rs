//! What scrubs have recorded.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::keys;
use crate::recipe::Location;
use crate::store::Store;

/// The record of a scrub of a namespace.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ScrubRecord {
    /// The time at which it ended, in RFC 3339.
    pub time: String,
    /// The number of stored bytes that were read and proven.
    pub bytes: u64,
    damaged: Vec<Location>,
    /// The signature over the record, in the format of minisign.
    pub signature: Option<String>,
}

impl ScrubRecord {
    /// Returns the number of places that were found damaged.
    pub fn damaged(&self) -> usize {
        self.damaged.len()
    }
}

impl Store {
    /// Returns the record of the last scrub of a namespace; `None` where there was none.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the store.
    pub fn last_scrub(&self, namespace: &str) -> Result<Option<ScrubRecord>> {
        for meta in self.objects.list(&keys::scrubs(namespace))?.iter().rev() {
            // One that was listed may be collected by now.
            let Some(bytes) = self.objects.get(&meta.key)? else { continue };
            let record = serde_json::from_slice(&bytes);
            return record.map(Some).map_err(|error| Error::damaged(&meta.key, error));
        }
        Ok(None)
    }
}
