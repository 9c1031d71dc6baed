//! Routes: which answer an address has.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::header::{EXPECT, HeaderValue};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use futures_util::FutureExt;
use hyper::body::{Body as _, Incoming};
use tracing::{error, info};

use crate::access::Who;
use crate::address::{Kind, Query, RepoId, segments};
use crate::call::{Call, blocking, json, text};
use crate::drain::Shared;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::metrics::Each;
use crate::random::random;
use crate::reads::ReadOf;
use crate::revision::split as revision;
use crate::{commit, files, lfs, listing, manage, mirror, own, page, pulls, scrubbed, xet};

/// Answers a request, whatever happens.
pub(crate) async fn answer(
    hub: Arc<Hub>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let id = random();
    let counting = Arc::clone(&hub);
    let method = request.method().clone();
    // A signed address is as good as a token for as long as it lasts.
    let path = request.uri().path();
    let first = segments(path).ok().and_then(|segments| segments.into_iter().next());
    let path = if first.as_deref() == Some("lfs") { "/lfs/..." } else { path }.to_owned();
    // Who waits to be told to send a body has sent none.
    let waits = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let body = Shared::new(body);
    let request = Request::from_parts(parts, body.body());
    let work = AssertUnwindSafe(handle(hub, peer, id.clone(), request)).catch_unwind();
    let answer = work.await.unwrap_or_else(|_| Err(Problem::internal("a panic")));
    if !waits && !body.is_end_stream() {
        body.drain().await;
    }
    let mut response = answer.unwrap_or_else(|problem| {
        if problem.status.is_server_error() {
            let cause = problem.cause();
            error!(request = id, %method, path, cause, "{}", problem.message());
        }
        problem.into_response()
    });
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let (status, millis) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    info!(request = id, %method, path, status, millis, %peer);
    let metrics = &counting.metrics;
    metrics.answered(route_of(&path), &method, status, began.elapsed());
    let read = response.extensions_mut().remove::<ReadOf>().filter(|_| method == Method::GET);
    let each = read.map(|ReadOf(repo)| {
        counting.reads.count(&repo, 1, 0);
        let counting = Arc::clone(&counting);
        Box::new(move |bytes| counting.reads.count(&repo, 0, bytes)) as Each
    });
    Ok(response.map(|body| metrics.sending(body, each)))
}

/// Returns the kind of an address: labels of metrics name no repository.
fn route_of(path: &str) -> &'static str {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments[..] {
        ["healthz" | "readyz" | "metrics"] => "health",
        ["cas", ..] => "xet",
        ["lfs", ..] => "lfs",
        ["api", ..] if segments.contains(&"commit") => "commit",
        ["api", ..] => "api",
        _ if segments.contains(&"resolve") || segments.contains(&"raw") => "file",
        _ if segments.contains(&"lfs") => "lfs",
        _ => "other",
    }
}

/// Answers a request for the numbers of the server, to whoever reaches the address that is there
/// for them.
pub(crate) async fn answer_monitor(
    hub: Arc<Hub>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answer = match request.uri().path() {
        "/metrics" => blocking(move || hub.metrics.answer(hub.store.objects())).await,
        path => match health(&hub, path).await {
            Some(answer) => answer,
            None => Err(Problem::no_route()),
        },
    };
    Ok(answer.unwrap_or_else(Problem::into_response))
}

/// Says whether the server runs, and whether its store answers.
async fn health(hub: &Arc<Hub>, path: &str) -> Option<Answer> {
    match path {
        "/healthz" => Some(Ok(text(StatusCode::OK, "ok"))),
        "/readyz" => {
            let hub = Arc::clone(hub);
            let ready = blocking(move || hub.check_store()).await;
            Some(ready.map(|()| text(StatusCode::OK, "ok")))
        }
        _ => None,
    }
}

async fn handle(hub: Arc<Hub>, peer: SocketAddr, id: String, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    let client = client_of(&hub, &parts.headers, peer.ip());
    let path = parts.uri.path().to_owned();
    if let Some(answer) = health(&hub, &path).await {
        return answer;
    }
    let parts_of = segments(&path)?;
    let segments: Vec<&str> = parts_of.iter().map(String::as_str).collect();
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let headers = parts.headers;
    // Requests with a signed address or a token of the Xet protocol are checked where they arrive.
    let signed = matches!(segments.first(), Some(&("cas" | "lfs")));
    let is_page = page::is_page(&parts.method, &segments);
    let who = if signed {
        Who::Nobody
    } else {
        let (asked, headers) = (Arc::clone(&hub), headers.clone());
        let of = if is_page { Who::of_page } else { Who::of };
        match blocking(move || of(&asked, &headers, peer)).await {
            Ok(who) => who,
            Err(problem) => {
                // Guessing is limited as well.
                hub.strangers.count(&client.to_string())?;
                return Err(problem);
            }
        }
    };
    // No body of somebody unknown is read, but for the list of paths that he asks about.
    let asks = matches!(parts.method, Method::GET | Method::HEAD)
        || matches!(segments[..], ["api", _, _, _, "paths-info", _, ..] | ["api", "validate-yaml"])
        || is_page && page::is_login(&segments);
    if !signed && !asks && who.token().is_none() {
        return Err(Problem::needs_token());
    }
    let download = segments.iter().any(|segment| matches!(*segment, "resolve" | "raw"));
    match &who {
        Who::Token(token) if download => hub.downloads.count(&token.id)?,
        Who::Token(token) => hub.requests.count(&token.id)?,
        // Theirs are counted by the token that they were given for.
        _ if signed => {}
        _ if download => hub.downloads.count(&client.to_string())?,
        _ => hub.strangers.count(&client.to_string())?,
    }
    let method = parts.method;
    let call =
        Arc::new(Call { hub, who, method, path: path.clone(), query, headers, peer: client, id });
    let body = call.hub.metrics.receiving(body);
    if is_page {
        return page::answer(call, &segments, body).await;
    }
    match &segments[..] {
        ["metrics"] if call.method == Method::GET => blocking(move || metrics(&call)).await,
        ["api", rest @ ..] => api(call, rest, body).await,
        ["cas", rest @ ..] => xet::answer(call, rest, body).await,
        ["lfs", claim] => lfs::upload(call, (*claim).into(), body).await,
        [".well-known", "at1w", namespace, file @ ("scrub.json" | "scrub.json.minisig")]
            if call.method == Method::GET =>
        {
            let (namespace, signature) = ((*namespace).to_owned(), *file != "scrub.json");
            blocking(move || scrubbed::answer(&call, &namespace, signature)).await
        }
        [folder @ ("datasets" | "spaces"), rest @ ..] => {
            let kind = Kind::plural(folder).ok_or_else(Problem::no_route)?;
            of_repo(call, kind, rest, body).await
        }
        rest => of_repo(call, Kind::Model, rest, body).await,
    }
}

/// Returns the numbers of the server, which name namespaces, to those who may see all of them.
fn metrics(call: &Call) -> Answer {
    match call.who.token() {
        None => Err(Problem::needs_token()),
        Some(token) if token.is_for_all() => call.hub.metrics.answer(call.hub.store.objects()),
        Some(_) => Err(Problem::forbidden("This token is not for all namespaces")),
    }
}

/// Returns the address of a client: the last one that a proxy of ours names which is none of ours.
fn client_of(hub: &Hub, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let ours = |address: &IpAddr| hub.config.proxies.contains(address);
    if !ours(&peer) {
        return peer;
    }
    let named = headers.get_all("x-forwarded-for").into_iter();
    let named = named.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let named: Vec<IpAddr> = named.filter_map(|address| address.trim().parse().ok()).collect();
    named.into_iter().rev().find(|address| !ours(address)).unwrap_or(peer)
}

/// Answers what is asked of files.
async fn of_repo(call: Arc<Call>, kind: Kind, segments: &[&str], body: Body) -> Answer {
    match segments {
        [namespace, name, way @ ("resolve" | "raw"), rest @ ..] if rest.len() > 1 => {
            let (revision, path) = revision(rest);
            let id = known(kind, namespace, name)?;
            files::answer(call, id, revision, path.join("/"), *way == "raw").await
        }
        // Some names are without a namespace elsewhere, and no repository has one here.
        [_, "resolve" | "raw", ..] => Err(Problem::no_repo()),
        [namespace, name, "info", "lfs", "objects", what] => {
            let name = name.strip_suffix(".git").ok_or_else(Problem::no_route)?;
            lfs::answer(call, known(kind, namespace, name)?, what, body).await
        }
        _ => Err(Problem::no_route()),
    }
}

/// Returns a repository; a name that none can have is that of none.
fn known(kind: Kind, namespace: &str, name: &str) -> Answer<RepoId> {
    RepoId::new(kind, namespace, name).map_err(|_| Problem::no_repo())
}

async fn api(call: Arc<Call>, segments: &[&str], body: Body) -> Answer {
    let method = call.method.clone();
    match (&method, segments) {
        (&Method::GET, ["whoami-v2"]) => manage::who_am_i(&call),
        (&Method::POST, ["validate-yaml"]) => {
            // An answer before the end of the body would break the connection.
            drop(crate::body::read(&call, body, crate::body::SHORT).await?);
            Ok(json(&serde_json::json!({ "errors": [], "warnings": [] })))
        }
        (_, ["at1w", "v1", rest @ ..]) => own::answer(call, rest, body).await,
        (&Method::POST, ["repos", "create"]) => manage::create(call, body).await,
        (&Method::DELETE, ["repos", "delete"]) => manage::delete(call, body).await,
        (&Method::POST, ["repos", "move"]) => manage::rename(call, body).await,
        (_, [kind, rest @ ..]) => {
            let kind = Kind::plural(kind).ok_or_else(Problem::no_route)?;
            match rest {
                [] if method == Method::GET => blocking(move || listing::repos(&call, kind)).await,
                [namespace, name, rest @ ..] => {
                    let id = known(kind, namespace, name)?;
                    of_api(call, id, rest, body).await
                }
                _ => Err(Problem::no_repo()),
            }
        }
        _ => Err(Problem::no_route()),
    }
}

async fn of_api(call: Arc<Call>, id: RepoId, segments: &[&str], body: Body) -> Answer {
    let method = call.method.clone();
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let own = |segments: &[&str]| segments.join("/");
    let reads = matches!(
        segments.first(),
        None | Some(&("revision" | "tree" | "paths-info" | "refs" | "commits"))
    );
    if reads {
        let revision = revision(segments.get(1..).unwrap_or_default()).0;
        mirror::ensure(&call, &id, &revision, true).await?;
    }
    match segments {
        [] if method == get => blocking(move || listing::info(&call, &id, None)).await,
        ["revision", rest @ ..] if method == get => {
            let revision = revision(rest).0;
            blocking(move || listing::info(&call, &id, Some(&revision))).await
        }
        ["tree", rest @ ..] if method == get && !rest.is_empty() => {
            let (revision, path) = revision(rest);
            let path = own(path);
            blocking(move || listing::tree(&call, &id, &revision, &path)).await
        }
        ["paths-info", rest @ ..] if method == post => {
            let revision = revision(rest).0;
            // Nobody has a body read who may not read the repository.
            let (asked, of) = (Arc::clone(&call), id.clone());
            blocking(move || asked.who.read(&asked.hub, &of)).await?;
            let body = crate::body::read(&call, body, crate::body::SHORT).await?;
            blocking(move || listing::paths(&call, &id, &revision, &body)).await
        }
        ["refs"] if method == get => blocking(move || listing::refs(&call, &id)).await,
        ["commits", rest @ ..] if method == get => {
            let revision = revision(rest).0;
            blocking(move || listing::commits(&call, &id, &revision)).await
        }
        ["safetensors-metadata", path @ ..] if method == get => {
            let path = own(path);
            blocking(move || listing::headers(&call, &id, &path)).await
        }
        ["auth-check", rest @ ..] if method == get => {
            let write = *rest == ["write"];
            blocking(move || {
                let hub = &call.hub;
                if write {
                    call.who.write(hub, &id)?
                } else {
                    call.who.read(hub, &id)?
                };
                Ok(text(StatusCode::OK, "OK"))
            })
            .await
        }
        ["branch", name @ ..] if method == post || method == delete => {
            manage::branch(call, id, own(name), body).await
        }
        ["tag", name @ ..] if method == post || method == delete => {
            manage::tag(call, id, revision(name).0, body).await
        }
        ["settings"] if method == Method::PUT => manage::settings(call, id, body).await,
        ["preupload", rest @ ..] if method == post => {
            commit::preupload(call, id, revision(rest).0, body).await
        }
        ["commit", rest @ ..] if method == post => {
            commit::commit(call, id, revision(rest).0, body).await
        }
        ["discussions", rest @ ..] => pulls::answer_to(call, id, rest, body).await,
        ["xet-write-token", ..] if method == get => {
            blocking(move || xet::write_token(&call, &id)).await
        }
        // Whoever names none is told that first.
        _ => blocking(move || call.who.read(&call.hub, &id).and(Err(Problem::no_route()))).await,
    }
}
