//! Sessions: claims on tokens, which a browser shows in a cookie. They hold for pages alone.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use serde::{Deserialize, Serialize};

use crate::error::Answer;
use crate::hub::Hub;
use crate::token::Token;

/// How long a session lasts, in seconds.
const GOOD: u64 = 12 * 3600;

/// What claims of sessions are signed for.
const PURPOSE: &str = "page";

/// The name of the cookie. Browsers take the second one over TLS and from this host alone.
const COOKIES: [&str; 2] = ["at1w", "__Host-at1w"];

/// A session: that of a token, with which it ends.
#[derive(Serialize, Deserialize)]
struct Session {
    /// The SHA-256 of the token.
    token: String,
}

/// Whether browsers reach the server by TLS.
fn is_secure(hub: &Hub) -> bool {
    let own = !hub.config.tls.certificate.as_os_str().is_empty();
    own || hub.config.public_url.starts_with("https://")
}

/// Finds the token of the session that a request shows.
pub(crate) fn find(hub: &Hub, headers: &HeaderMap) -> Answer<Option<Arc<Token>>> {
    let name = COOKIES[usize::from(is_secure(hub))];
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|one| one.split_once('='));
    let Some((_, text)) = cookies.find(|(known, _)| known.trim() == name) else { return Ok(None) };
    let session = hub.key.check::<Session>(PURPOSE, text.trim());
    let token = session.map(|session| hub.tokens.find_hash(&session.token)).transpose()?;
    Ok(token.flatten())
}

/// Returns the cookie that begins the session of a token, or ends any.
pub(crate) fn cookie(hub: &Hub, token: Option<&Token>) -> String {
    let sign =
        |token: &Token| hub.key.sign(PURPOSE, &Session { token: token.sha256().into() }, GOOD);
    let (text, lasts) = token.map_or((String::new(), 0), |token| (sign(token), GOOD));
    let secure = is_secure(hub);
    let (name, more) = (COOKIES[usize::from(secure)], if secure { "; Secure" } else { "" });
    format!("{name}={text}; Max-Age={lasts}; Path=/; HttpOnly; SameSite=Strict{more}")
}
