//! Signing in and out, and the forms that pages of this server send.
//!
//! The session is SameSite=Strict, and every form is taken from a page of this server only.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{HOST, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{Response, StatusCode};
use maud::html;
use reqwest::Url;
use serde_json::json;

use super::shell;
use crate::address::Query;
use crate::body::read;
use crate::call::{Call, blocking};
use crate::error::{Answer, Problem, header_value};
use crate::session::cookie;

/// The largest form, in bytes.
const FORM: u64 = 64 << 10;

/// Checks that a form was sent by a page of this server.
fn check_origin(call: &Call) -> Answer<()> {
    let public = &call.hub.config.public_url;
    let origin = call.header(ORIGIN.as_str());
    let same = match Url::parse(public) {
        // The scheme as well: a browser keeps the cookie of a secure address there alone.
        Ok(public) => origin == Some(public.origin().ascii_serialization().as_str()),
        Err(_) => {
            let host = origin.and_then(|origin| Some(origin.split_once("://")?.1));
            host.is_some() && host == call.header(HOST.as_str())
        }
    };
    let site = call.header("sec-fetch-site").unwrap_or("same-origin");
    if same && site == "same-origin" {
        return Ok(());
    }
    let at = if public.is_empty() { String::new() } else { format!(" at {public}") };
    Err(Problem::forbidden(format!("The form was not sent by a page of this server{at}")))
}

/// Reads a form that a page of this server has sent.
pub(super) async fn posted(call: &Call, body: Body) -> Answer<Query> {
    check_origin(call)?;
    let body = read(call, body, FORM).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::bad("The form is not UTF-8"))?;
    Query::parse(text)
}

/// Returns the page that asks for a token.
pub(super) fn form(call: &Call, status: StatusCode, problem: &str) -> Response<Body> {
    form_for(call, status, problem, &call.path)
}

/// [`form`] for somebody who is led to an address then.
fn form_for(call: &Call, status: StatusCode, problem: &str, next: &str) -> Response<Body> {
    let next = if is_own(next) && !next.starts_with("/login") { next } else { "/" };
    let content = html! {
        h1 { "Sign in" }
        @if !problem.is_empty() { p.problem role="alert" { (problem) } }
        p { "With a token of this server, as clients have it in " code { "HF_TOKEN" }
            ". It shows what it may read, and ends when the token is revoked, or after 12 hours." }
        form.stack method="post" action="/login" {
            input type="hidden" name="next" value=(next);
            // Programs that keep passwords ask whose it is.
            input type="text" name="user" value="token" autocomplete="username" hidden;
            label for="token" { "Token" }
            input #token type="password" name="token" required autocomplete="current-password"
                spellcheck="false" placeholder="hf_…";
            button { "Sign in" }
        }
    };
    shell::with_status(call, status, "Sign in", &content)
}

/// Whether an address is one of this server.
fn is_own(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    address.starts_with('/') && !address.starts_with("//") && address.bytes().all(plain)
}

/// Begins the session of a token.
pub(super) async fn begin(call: Arc<Call>, body: Body) -> Answer {
    let form_sent = posted(&call, body).await?;
    let asked = Arc::clone(&call);
    let secret = form_sent.get("token").unwrap_or_default().trim().to_owned();
    let token = blocking(move || {
        let token = asked.hub.tokens.find(&secret)?;
        if let Some(token) = &token {
            let (request, id, actor) = (&asked.id, &token.id, &token.name);
            asked.hub.audit(json!({
                "request": request, "token": id, "actor": actor, "action": "sign in",
            }))?;
        }
        Ok(token)
    })
    .await?;
    let Some(token) = token else {
        // Guessing is limited as well.
        call.hub.strangers.count(&call.peer.to_string())?;
        let problem = "No token of this server is like that.";
        let next = form_sent.get("next").unwrap_or_default();
        return Ok(form_for(&call, StatusCode::UNAUTHORIZED, problem, next));
    };
    let next = form_sent.get("next").filter(|next| is_own(next)).unwrap_or("/");
    Ok(go(next, Some(&cookie(&call.hub, Some(&token)))))
}

/// Ends a session in the browser.
pub(super) fn end(call: &Call) -> Answer {
    check_origin(call)?;
    Ok(go("/", Some(&cookie(&call.hub, None))))
}

/// Sends a browser to another page, perhaps with another session.
pub(super) fn go(to: &str, cookie: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, header_value(to));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.insert(SET_COOKIE, header_value(cookie));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for own in ["/", "/lab/m?page=2", "/lab/m/blob/main/%C3%BC"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["//evil", "/\\evil", "https://evil", "evil", "", "/a\r\nSet-Cookie: x", "/ü"]
        {
            assert!(!is_own(other), "{other}");
        }
    }
}
