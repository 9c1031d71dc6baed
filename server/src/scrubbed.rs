//! The record of the last scrub of a namespace, at a well-known address.

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::access::Who;
use crate::call::Call;
use crate::error::{Answer, Problem};

/// Returns the statement of the last scrub, as it was signed, or its signature. Those learn of it
/// who can read a repository of the namespace.
pub(crate) fn answer(call: &Call, namespace: &str, signature: bool) -> Answer {
    if matches!(call.who, Who::Nobody) {
        return Err(Problem::needs_token());
    }
    at1w_registry::check_namespace(namespace).map_err(|_| Problem::no_route())?;
    let store = &call.hub.store;
    let entries = store.repos(Some(namespace))?;
    if !entries.iter().any(|entry| call.who.sees(entry)) {
        return Err(Problem::no_route());
    }
    let record = store.last_scrub(namespace)?.ok_or_else(Problem::no_route)?;
    let (body, kind) = match signature {
        false => (record.text, "application/json"),
        true => (record.signature.ok_or_else(Problem::no_route)?, "text/plain"),
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
