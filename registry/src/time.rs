//! Times as entries write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// The length of a day such as `2026-11-30`.
const DAY_LEN: usize = 10;

/// Returns a time in RFC 3339 in seconds since 1970; 0 for one that is before, or is none.
pub(crate) fn seconds(time: &str) -> u64 {
    let parsed = DateTime::parse_from_rfc3339(time).ok();
    parsed.and_then(|time| u64::try_from(time.timestamp()).ok()).unwrap_or(0)
}

/// Returns a time in seconds since 1970 in RFC 3339.
pub fn show_time(seconds: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Parses a time in RFC 3339, or a day such as `2026-11-30`, which begins at midnight in UTC;
/// returns it in seconds since 1970.
pub fn parse_time(text: &str) -> Option<u64> {
    let whole = if text.len() == DAY_LEN { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = DateTime::parse_from_rfc3339(&whole).ok()?;
    u64::try_from(time.timestamp()).ok()
}

/// Returns when the month of a time begins, in UTC. Times are in seconds since 1970.
pub fn month_begin(seconds: u64) -> u64 {
    let month = show_time(seconds).get(..7).map(|month| format!("{month}-01"));
    month.and_then(|day| parse_time(&day)).unwrap_or(0)
}

/// Returns the hour of a time in RFC 3339.
pub(crate) fn hour(time: &str) -> String {
    time.get(..13).unwrap_or(time).to_owned()
}

/// Returns the hour after one.
pub(crate) fn next_hour(hour: &str) -> String {
    let after = UNIX_EPOCH + Duration::from_secs(seconds(&format!("{hour}:00:00Z")) + 3600);
    self::hour(&rfc3339(after))
}

/// Returns a time in RFC 3339, to the second. Later times sort later.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_have_a_zone() {
        assert_eq!(parse_time("1970-01-02"), Some(86_400));
        assert_eq!(parse_time("1970-01-01T02:00:00+01:00"), Some(3_600));
        for wrong in ["", "yesterday", "2026-13-01", "1969-01-01", "2026-11-30T10:00:00"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        let time = parse_time("2026-02-28T23:59:59Z").unwrap();
        assert_eq!(show_time(month_begin(time)), "2026-02-01T00:00:00Z");
        assert_eq!(next_hour("2026-02-28T23"), "2026-03-01T00");
    }
}
