//! One request: what was asked, by whom, and answers to it.

use std::net::IpAddr;
use std::sync::Arc;

use at1w_registry::Store;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use serde::Serialize;

use crate::access::Who;
use crate::address::Query;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
pub(crate) use crate::work::{blocking, worked};

/// A request without its body.
pub(crate) struct Call {
    pub(crate) hub: Arc<Hub>,
    pub(crate) who: Who,
    pub(crate) method: Method,
    /// The path as it was sent.
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// The address of the client, or of a proxy that does not say for whom it asks.
    pub(crate) peer: IpAddr,
    /// The id by which the log knows it.
    pub(crate) id: String,
}

impl Call {
    /// Returns the address of the server as the client reaches it.
    pub(crate) fn base(&self) -> String {
        if !self.hub.config.public_url.is_empty() {
            return self.hub.config.public_url.clone();
        }
        let host = self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let tls = !self.hub.config.tls.certificate.as_os_str().is_empty();
        let scheme = if tls { "https" } else { "http" };
        match !host.is_empty() && host.bytes().all(plain) {
            true => format!("{scheme}://{host}"),
            false => format!("{scheme}://{}", self.hub.config.listen),
        }
    }

    /// Returns the store for changes, which name the caller and the request.
    pub(crate) fn store(&self) -> Store {
        let token = self.who.token().map(|token| token.id.as_str());
        self.hub.store.acting_as(self.who.name()).for_request(&self.id, token)
    }

    /// Counts what strangers ask, those who guess addresses and tokens included.
    pub(crate) fn known<T>(&self, who: Answer<T>) -> Answer<T> {
        if who.is_err() {
            self.hub.strangers.count(&self.peer.to_string())?;
        }
        who
    }

    /// Returns a header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Returns an answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns an answer of a word.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Parses a body in JSON.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Answer<T> {
    let parsed = serde_json::from_slice(body);
    parsed.map_err(|error| Problem::bad(format!("The body is not what it should be: {error}")))
}
