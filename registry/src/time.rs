//! Times as entries write them.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// Returns a time in RFC 3339, to the second. Later times sort later.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
