//! The audit log of a store: what was pushed, deleted and changed, by whom.

use std::time::{SystemTime, UNIX_EPOCH};

use at1w_remote::Objects;
use serde_json::Value;

use crate::random::random;

/// Records an action, which is acknowledged afterwards.
pub(crate) fn record(objects: &Objects, mut record: Value) -> Result<(), at1w_remote::Error> {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    record["time"] = (millis as u64 / 1000).into();
    objects.put(&format!("audit/{millis:012x}-{}", random()), record.to_string().into_bytes())
}
