//! Sending bytes: the range that a client asks for, piece by piece, at the speed of the client.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use futures_util::stream;
use tokio::sync::mpsc;
use tracing::warn;

use crate::address::encode;
use crate::call::{Call, worked};
use crate::error::{Answer, Problem, header_value};

/// The number of bytes that are read at a time. Two such pieces are in memory for a download.
const PIECE: u64 = 2 << 20;

/// The number of bytes of the first piece, which should come soon.
const FIRST: u64 = 256 << 10;

/// Reads the pieces of a content, one after another.
pub(crate) type Read = Box<dyn FnMut(Range<u64>) -> Answer<Vec<u8>> + Send>;

/// The part of a content that a client wants.
#[derive(Debug, PartialEq)]
pub(crate) enum Wanted {
    All,
    Range(Range<u64>),
    /// Nothing: it has the content.
    Unchanged,
}

/// Returns what the headers of a request want of a content of `size` bytes.
pub(crate) fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Answer<Wanted> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let same = |value: &str| is_same(value, etag);
    if text(IF_NONE_MATCH).is_some_and(|value| value.split(',').any(same)) {
        return Ok(Wanted::Unchanged);
    }
    // A content that has changed is sent whole.
    if text(IF_RANGE).is_some_and(|value| !same(value)) {
        return Ok(Wanted::All);
    }
    let Some(range) = text(RANGE) else { return Ok(Wanted::All) };
    // Other units and several ranges may be ignored, and are.
    let Some(range) = range.strip_prefix("bytes=").filter(|range| !range.contains(',')) else {
        return Ok(Wanted::All);
    };
    let Some((from, to)) = range.trim().split_once('-') else { return Ok(Wanted::All) };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large is beyond every end.
        true => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
        false => None,
    };
    let range = match (from, to) {
        ("", "") => return Ok(Wanted::All),
        ("", last) => number(last).map(|last| size.saturating_sub(last)..size),
        (from, "") => number(from).map(|from| from..size),
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => Some(from..to.saturating_add(1).min(size)),
            _ => None,
        },
    };
    let Some(range) = range else { return Ok(Wanted::All) };
    if range.start >= range.end {
        let message = "The range lies outside of the file";
        return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, message)
            .header(CONTENT_RANGE, format!("bytes */{size}")));
    }
    Ok(Wanted::Range(range))
}

/// Whether a client goes on with a content that it knows by its mark.
pub(crate) fn has_begun(headers: &HeaderMap, etag: &str) -> bool {
    let values =
        [IF_MATCH, IF_RANGE].into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| is_same(value, etag))
}

fn is_same(value: &str, etag: &str) -> bool {
    value.trim().trim_start_matches("W/").trim_matches('"') == etag
}

/// Returns the headers that every answer about a file has.
pub(crate) fn common(path: &str, commit: &str, etag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain: String = name.chars().map(|c| if c == '"' || c == '\\' { '_' } else { c }).collect();
    let shown = format!("inline; filename*=UTF-8''{}; filename=\"{plain}\";", encode(name));
    headers.insert("x-repo-commit", header_value(commit));
    headers.insert(ETAG, header_value(&format!("\"{etag}\"")));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DISPOSITION, header_value(&shown));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers
}

pub(crate) fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Sends the wanted part of a content of `size` bytes.
pub(crate) async fn send(
    call: &Arc<Call>,
    mut headers: HeaderMap,
    wanted: Wanted,
    size: u64,
    read: Read,
) -> Answer {
    let (status, range) = match wanted {
        Wanted::Unchanged => {
            return Ok(respond(StatusCode::NOT_MODIFIED, headers, Body::empty()));
        }
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Range(range) => {
            let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            headers.insert(CONTENT_RANGE, header_value(&shown));
            (StatusCode::PARTIAL_CONTENT, range)
        }
    };
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    if call.method == Method::HEAD || range.is_empty() {
        return Ok(respond(status, headers, Body::empty()));
    }
    let (sender, mut pieces) = mpsc::channel(1);
    tokio::spawn(produce(Arc::clone(call), read, range, sender));
    // The first piece is verified before the answer begins: damage there is an honest 500.
    let first = match pieces.recv().await {
        Some(first) => first?,
        None => return Err(Problem::internal("no piece came")),
    };
    let rest = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        let piece = piece.map_err(|problem| io::Error::other(problem.message().to_owned()));
        Some((piece, pieces))
    });
    let first = stream::iter([Ok::<_, io::Error>(first)]);
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    Ok(respond(status, headers, body))
}

/// Reads piece after piece, one ahead of the client. Ends when the client is gone.
async fn produce(
    call: Arc<Call>,
    mut read: Read,
    range: Range<u64>,
    sender: mpsc::Sender<Answer<Bytes>>,
) {
    let (mut at, mut len) = (range.start, FIRST);
    while at < range.end {
        let to = range.end.min(at.saturating_add(len));
        len = PIECE;
        let done = worked(&call.hub.decoding, move || {
            let piece = read(at..to);
            Ok((read, piece))
        })
        .await;
        let piece = match done {
            Ok((again, piece)) => {
                read = again;
                piece.map(Bytes::from)
            }
            Err(problem) => {
                let _ = sender.send(Err(problem)).await;
                return;
            }
        };
        let failed = piece.is_err();
        if let Err(problem) = &piece {
            let cause = problem.cause();
            warn!(
                request = call.id,
                path = call.path,
                offset = at,
                cause,
                "a download ended early"
            );
        }
        if sender.send(piece).await.is_err() || failed {
            return;
        }
        at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str, size: u64) -> Result<Wanted, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        wanted(&headers, "x", size).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn ranges_are_open_closed_or_suffixes() {
        assert_eq!(of("bytes=0-0", 10), Ok(Wanted::Range(0..1)));
        assert_eq!(of("bytes=3-", 10), Ok(Wanted::Range(3..10)));
        assert_eq!(of("bytes=-4", 10), Ok(Wanted::Range(6..10)));
        assert_eq!(of("bytes=-40", 10), Ok(Wanted::Range(0..10)));
        assert_eq!(of("bytes=5-99", 10), Ok(Wanted::Range(5..10)));
        let far = "bytes=0-99999999999999999999999";
        assert_eq!(of(far, 10), Ok(Wanted::Range(0..10)));
        for outside in ["bytes=10-", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(outside, 10), Err(416), "{outside}");
        }
        assert_eq!(of("bytes=0-0", 0), Err(416));
        for ignored in ["bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=5-2"] {
            assert_eq!(of(ignored, 10), Ok(Wanted::All), "{ignored}");
        }
    }

    #[test]
    fn a_changed_content_is_sent_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=1-2".parse().unwrap());
        headers.insert(IF_RANGE, "\"old\"".parse().unwrap());
        assert_eq!(wanted(&headers, "new", 10).unwrap(), Wanted::All);
        assert_eq!(wanted(&headers, "old", 10).unwrap(), Wanted::Range(1..3));
        assert!(has_begun(&headers, "old") && !has_begun(&headers, "new"));
        headers.insert(IF_MATCH, "\"new\"".parse().unwrap());
        assert!(has_begun(&headers, "new"));
        headers.insert(IF_NONE_MATCH, "W/\"new\", \"b\"".parse().unwrap());
        assert_eq!(wanted(&headers, "new", 10).unwrap(), Wanted::Unchanged);
    }
}
