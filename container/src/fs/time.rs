//! Times of files as text: RFC 3339, in UTC, to the nanosecond.

use std::time::SystemTime;

use humantime::{format_rfc3339_nanos, parse_rfc3339};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(crate) fn serialize<S: Serializer>(
    time: &Option<SystemTime>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(&format_rfc3339_nanos(*time)),
        None => to.serialize_none(),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SystemTime>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parse_rfc3339(&text).map_err(D::Error::custom)).transpose()
}

/// Whether a time can be written: years from 1970 to 9999.
pub(crate) fn is_writable(time: SystemTime) -> bool {
    const END: u64 = 253_402_300_800;
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < END)
}
