//! Pages for people with a browser: made here, without scripts, and loading nothing from elsewhere.
//!
//! `shell` is the frame of every page and its headers, `sign_in` how a browser shows a token,
//! `place` a revision, `heads` and `parts` what several pages have. The others are a page each.

mod admin;
mod commits;
mod compare;
mod file;
mod growth;
mod heads;
mod home;
mod model;
mod parts;
mod place;
mod repo;
mod shell;
mod sign_in;
mod tensor;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::ACCEPT;
use axum::http::{Method, Response, StatusCode};
use maud::html;
use tracing::error;

use self::parts::shown;
use self::place::Place;
use crate::address::{Kind, RepoId};
use crate::call::{Call, worked};
use crate::error::{Answer, Problem};

/// Whether a request is one for a page: addresses that no client of the hub asks for.
pub(crate) fn is_page(method: &Method, segments: &[&str]) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match segments {
        ["login", ..] | ["admin", ..] => reads || method == Method::POST,
        [""] | ["static", _] => reads,
        [folder @ ("datasets" | "spaces"), rest @ ..] => {
            reads && Kind::plural(folder).is_some_and(|kind| of_repo(kind, rest).is_some())
        }
        rest => reads && of_repo(Kind::Model, rest).is_some(),
    }
}

/// Whether a request may come with a body of somebody without a token: the one that brings it.
pub(crate) fn is_login(segments: &[&str]) -> bool {
    matches!(segments, ["login", ..])
}

/// Returns the repository of a page, with what the address has after it.
fn of_repo<'a>(kind: Kind, segments: &'a [&'a str]) -> Option<(RepoId, &'a [&'a str])> {
    let [namespace, name, rest @ ..] = segments else { return None };
    let is_page = match rest {
        // Files of a repository without a namespace, as other hubs have them.
        [] => !matches!(*name, "resolve" | "raw"),
        [page, ..] => matches!(*page, "tree" | "blob" | "commits" | "compare" | "tensor"),
    };
    let id = RepoId::new(kind, namespace, name).ok().filter(|_| is_page)?;
    Some((id, rest))
}

/// Answers with a page; problems are pages, too, where the caller reads HTML.
pub(crate) async fn answer(call: Arc<Call>, segments: &[&str], body: Body) -> Answer {
    let answer = find(&call, segments, body).await;
    let html = call.header(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html"));
    match answer {
        Err(problem) if html => {
            if problem.status.is_server_error() {
                let (id, path, cause) = (&call.id, &call.path, problem.cause());
                error!(request = id, path, cause, "{}", problem.message());
            }
            Ok(of_problem(&call, &problem))
        }
        answer => answer,
    }
}

/// Returns the page of a problem. Whoever has shown no token is asked for one.
fn of_problem(call: &Call, problem: &Problem) -> Response<Body> {
    if problem.status == StatusCode::UNAUTHORIZED {
        return sign_in::form(call, problem.status, "A token is needed to read here.");
    }
    let title = problem.status.canonical_reason().unwrap_or("Error");
    let content = html! {
        h1 { (title) }
        p { (shown(problem.message())) "." }
        @if problem.status.is_server_error() { p { "The log has it as " code { (call.id) } "." } }
        p { a href="/" { "All repositories" } }
    };
    let mut response = shell::with_status(call, problem.status, title, &content);
    problem.add_headers(response.headers_mut());
    response
}

async fn find(call: &Arc<Call>, segments: &[&str], body: Body) -> Answer {
    let posted = call.method == Method::POST;
    let own = Arc::clone(call);
    match segments {
        ["static", name] => shell::static_file(name),
        ["login"] if posted => sign_in::begin(own, body).await,
        ["login"] => Ok(sign_in::form(call, StatusCode::OK, "")),
        ["login", "out"] if posted => sign_in::end(call),
        ["admin", rest @ ..] => admin::answer(own, rest, body).await,
        [""] => worked(&call.hub.pages, move || home::page(&own)).await,
        _ => {
            let (kind, rest) = match segments {
                [folder @ ("datasets" | "spaces"), rest @ ..] => {
                    (Kind::plural(folder).unwrap_or(Kind::Model), rest)
                }
                rest => (Kind::Model, rest),
            };
            let (id, rest) = of_repo(kind, rest).ok_or_else(Problem::no_route)?;
            let rest: Vec<String> = rest.iter().map(|part| (*part).to_owned()).collect();
            // Pages of repositories open files: only so many do at the same time.
            worked(&call.hub.pages, move || of_place(&own, id, &rest)).await
        }
    }
}

fn of_place(call: &Call, id: RepoId, rest: &[String]) -> Answer {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match &rest[..] {
        [] => repo::page(call, &Place::find(call, id, call.query.get("revision"))?),
        ["compare"] => compare::page(call, id),
        ["tensor", sha256] => tensor::holders(call, id, sha256),
        [page @ ("tree" | "blob" | "commits"), rest @ ..] => {
            let (revision, path) = crate::revision::split(rest);
            let place = Place::find(call, id, Some(&revision))?;
            match (*page, path) {
                ("tree", []) => repo::page(call, &place),
                ("commits", []) => commits::page(call, &place),
                ("blob", path) if !path.is_empty() => file::page(call, &place, &path.join("/")),
                _ => Err(Problem::no_route()),
            }
        }
        _ => Err(Problem::no_route()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::segments;

    fn is_page_at(method: &Method, path: &str) -> bool {
        let segments = segments(path).unwrap();
        is_page(method, &segments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn no_address_of_clients_is_one_of_a_page() {
        for path in [
            "/api/models",
            "/api/models/lab/m",
            "/lab/m/resolve/main/model.safetensors",
            "/lab/m/raw/main/config.json",
            "/datasets/lab/m/resolve/main/x",
            "/gpt2/resolve/main/config.json",
            "/lab/m.git/info/lfs/objects/batch",
            "/lab/m/info/refs",
            "/cas/v1/xorbs/default/x",
            "/lfs/claim",
            "/healthz",
            "/metrics",
            "/metrics/x",
            "/v1/x",
            "/.well-known/x",
            "/lab",
        ] {
            assert!(!is_page_at(&Method::GET, path), "{path}");
            assert!(!is_page_at(&Method::POST, path), "{path}");
        }
        for path in ["/", "/lab/m", "/datasets/lab/m/tree/main", "/lab/m/blob/main/a/b", "/admin"] {
            assert!(is_page_at(&Method::GET, path) && is_page_at(&Method::HEAD, path), "{path}");
            assert!(!is_page_at(&Method::PUT, path), "{path}");
        }
        assert!(!is_page_at(&Method::POST, "/lab/m"));
    }
}
