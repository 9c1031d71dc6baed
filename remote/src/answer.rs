//! What the headers of an answer say.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use reqwest::Url;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Returns a header as text.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// The range that an answer holds, and the length of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) range: Range<u64>,
    pub(crate) len: u64,
}

impl ContentRange {
    /// Parses `bytes FIRST-LAST/LEN`, or `bytes */LEN` for an empty range.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = text(headers, "content-range")?;
        let (range, len) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
        let len = len.parse().ok()?;
        if range == "*" {
            return Some(Self { range: 0..0, len });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < len).then(|| Self { range: first..last + 1, len })
    }
}

/// Returns the time that a server asks to wait for.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = httpdate::parse_http_date(&text).ok()?;
    Some(time.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Finds the address of another form of a file, of a media type, on the same server:
/// `Link: <ADDRESS>; rel="alternate"; type="TYPE"`.
pub(crate) fn alternate(headers: &HeaderMap, url: &Url, media_type: &str) -> Option<Url> {
    let links = headers.get_all("link").iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (address, fields) = link.trim().strip_prefix('<')?.split_once('>')?;
        let has = |name: &str, value: &str| {
            fields.split(';').filter_map(|field| field.split_once('=')).any(|(found, text)| {
                found.trim().eq_ignore_ascii_case(name) && text.trim().trim_matches('"') == value
            })
        };
        let found = url.join(address).ok()?;
        let same = found.origin() == url.origin();
        (same && has("rel", "alternate") && has("type", media_type)).then_some(found)
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn ranges_are_parsed_and_not_believed() {
        let range = |text| ContentRange::of(&headers("content-range", text));
        assert_eq!(range("bytes 5-9/20"), Some(ContentRange { range: 5..10, len: 20 }));
        assert_eq!(range("bytes */0"), Some(ContentRange { range: 0..0, len: 0 }));
        for wrong in ["bytes 5-9/*", "bytes 9-5/20", "bytes 0-20/20", "bytes -5/20", "5-9/20", ""] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
        assert_eq!(range("bytes 0-18446744073709551615/18446744073709551615"), None);
    }

    #[test]
    fn waits_are_numbers_or_dates() {
        let wait = |text| retry_after(&headers("retry-after", text));
        assert_eq!(wait("3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn other_forms_are_found_on_the_same_server_only() {
        let url = Url::parse("http://host/lab/model").unwrap();
        let find = |text: &str| alternate(&headers("link", text), &url, "a/b").map(String::from);
        let link = "</lab/model?packed=1>; rel=\"alternate\"; type=\"a/b\"";
        assert_eq!(find(link).as_deref(), Some("http://host/lab/model?packed=1"));
        assert!(find(&format!("</next>; rel=next, {link}")).is_some());
        assert!(find("</lab/model>; rel=\"alternate\"; type=\"c/d\"").is_none());
        assert!(find("<http://other/model>; rel=\"alternate\"; type=\"a/b\"").is_none());
    }
}
