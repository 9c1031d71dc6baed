//! The frame of every page, its look, and the headers that bind a browser to it.

use std::sync::LazyLock;

use at1w_container::Digest;
use at1w_measure::page::STYLE;
use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY,
};
use axum::http::{HeaderMap, Response, StatusCode};
use maud::{DOCTYPE, Markup, html};

use super::parts::shown;
use crate::call::Call;
use crate::error::{Answer, Problem};
use crate::token::Role;

/// What a browser may do with a page: show it, with the look that the server sends.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// The look: that of reports, and what these pages add.
static LOOK: LazyLock<String> = LazyLock::new(|| format!("{STYLE}{}", include_str!("page.css")));

/// The name of the look, which changes with it, so that browsers keep it for good.
static LOOK_NAME: LazyLock<String> =
    LazyLock::new(|| format!("{}.css", &Digest::of(LOOK.as_bytes()).to_string()[..16]));

const ICON_NAME: &str = "icon.svg";
const ICON: &str = include_str!("icon.svg");

/// Returns a page.
pub(super) fn page(call: &Call, title: &str, content: &Markup) -> Response<Body> {
    with_status(call, StatusCode::OK, title, content)
}

pub(super) fn with_status(
    call: &Call,
    status: StatusCode,
    title: &str,
    content: &Markup,
) -> Response<Body> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (shown(title)) }
                link rel="stylesheet" href={ "/static/" (*LOOK_NAME) };
                link rel="icon" type="image/svg+xml" href={ "/static/" (ICON_NAME) };
            }
            body {
                a.skip href="#content" { "To the content" }
                header.top { div {
                    a.home href="/" { "Models" }
                    (whose(call))
                } }
                main #content { (content) }
            }
        }
    };
    let mut response = Response::new(Body::from(page.into_string()));
    *response.status_mut() = status;
    // A page may show what is private: nobody keeps it.
    let headers = response.headers_mut();
    bind(headers, "text/html; charset=utf-8", "no-store");
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// Returns who has signed in, and how to sign in or out.
fn whose(call: &Call) -> Markup {
    html! {
        nav aria-label="You" {
            @match call.who.token() {
                Some(token) => {
                    @if token.role == Role::Admin { a href="/admin" { "Admin" } }
                    span.who { "Signed in as " bdi { (shown(&token.name)) } }
                    @if !call.headers.contains_key(AUTHORIZATION) {
                        form method="post" action="/login/out" {
                            button.plain { "Sign out" }
                        }
                    }
                }
                None => a href="/login" { "Sign in" },
            }
        }
    }
}

fn bind(headers: &mut HeaderMap, kind: &'static str, cache: &'static str) {
    let fixed = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, fixed(kind));
    headers.insert(CACHE_CONTROL, fixed(cache));
    headers.insert(REFERRER_POLICY, fixed("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin"));
}

/// Returns the look, or the icon.
pub(super) fn static_file(name: &str) -> Answer {
    const KEPT: &str = "public, max-age=31536000, immutable";
    let (kind, cache, bytes) = match name {
        ICON_NAME => ("image/svg+xml", "public, max-age=86400", ICON),
        name if name == *LOOK_NAME => ("text/css; charset=utf-8", KEPT, LOOK.as_str()),
        _ => return Err(Problem::no_route()),
    };
    let mut response = Response::new(Body::from(bytes));
    bind(response.headers_mut(), kind, cache);
    Ok(response)
}
