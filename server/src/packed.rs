//! The packed form of a file, under an address of its own.

use std::ops::Range;
use std::sync::Arc;

use at1w_container::MEDIA_TYPE;
use at1w_registry::File;
use axum::body::Body;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LINK, LOCATION};
use axum::http::{HeaderMap, Response, StatusCode};

use crate::call::{Call, blocking};
use crate::error::{Answer, Problem, header_value};
use crate::send::{common, has_begun, respond, send, wanted};

/// Whether a client asks for the packed form at the plain address.
pub(crate) fn is_wanted(call: &Call) -> bool {
    call.header(ACCEPT.as_str())
        .is_some_and(|accept| accept.split(',').any(|one| one.trim() == MEDIA_TYPE))
}

/// Sends a client to the address of the packed form.
pub(crate) fn redirect(call: &Call) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, header_value(&format!("{}{}?at1w=1", call.base(), call.path)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(respond(StatusCode::TEMPORARY_REDIRECT, headers, Body::empty()))
}

/// Announces the packed form on the plain one.
pub(crate) fn announce(call: &Call, headers: &mut HeaderMap) {
    let link = format!("<{}?at1w=1>; rel=\"alternate\"; type=\"{MEDIA_TYPE}\"", call.path);
    headers.insert(LINK, header_value(&link));
}

/// Answers with the packed form; `None` where there is none, or the client could not read it.
pub(crate) async fn answer(
    call: &Arc<Call>,
    namespace: &str,
    file: &File,
    commit: &str,
    path: &str,
) -> Answer<Option<Response<Body>>> {
    if file.root.is_none() {
        return Ok(None);
    }
    let features = match call.query.get("features") {
        Some(text) => u64::from_str_radix(text.trim_start_matches("0x"), 16)
            .map_err(|_| Problem::bad("features is no hexadecimal number"))?,
        None => u64::MAX,
    };
    let (hub, namespace, file) = (Arc::clone(&call.hub), namespace.to_owned(), file.clone());
    let (of, file_of) = (namespace.clone(), file.clone());
    let headers = call.headers.clone();
    let opened = blocking(move || {
        let packed = hub.packed(&namespace, &file, |etag| has_begun(&headers, etag))?;
        Ok(packed.filter(|packed| packed.features & !features == 0))
    })
    .await?;
    let Some(packed) = opened else { return Ok(None) };
    let (size, mut headers) = (packed.size, common(path, commit, &packed.etag));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    let wanted = wanted(&call.headers, &packed.etag, size)?;
    let (hub, mut packed) = (Arc::clone(&call.hub), packed);
    let read = Box::new(move |range: Range<u64>| {
        let error = match packed.source.read_at(range.clone()) {
            Ok(bytes) => return Ok(bytes.into_owned()),
            Err(error) => error,
        };
        // It may lie elsewhere since it was opened.
        hub.forget(&of, file_of.sha256);
        let again = hub.packed(&of, &file_of, |_| false)?;
        let Some(again) = again.filter(|again| again.etag == packed.etag) else {
            return Err(error.into());
        };
        packed = again;
        Ok(packed.source.read_at(range)?.into_owned())
    });
    send(call, headers, wanted, size, read).await.map(Some)
}
