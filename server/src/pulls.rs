//! Pull requests: opening, listing, merging and closing them. There are no other discussions here.

use std::sync::Arc;

use at1w_registry::{Entry, MAIN, Proposal, PushOptions, Status};
use axum::body::Body;
use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::RepoId;
use crate::body::{SHORT, read};
use crate::call::{Call, blocking, json as answer, parse};
use crate::error::{Answer, Problem};
use crate::listing::time;
use crate::manage::record;

/// The number of pull requests of a page.
const PAGE: usize = 50;

/// Answers what is asked of pull requests.
pub(crate) async fn answer_to(
    call: Arc<Call>,
    id: RepoId,
    segments: &[&str],
    body: Body,
) -> Answer {
    let number = |text: &str| text.parse::<u64>().map_err(|_| Problem::no_route());
    match (&call.method, segments) {
        (&Method::GET, []) => blocking(move || list(&call, &id)).await,
        (&Method::GET, [which]) => {
            let number = number(which)?;
            blocking(move || {
                let entry = call.who.read(&call.hub, &id)?;
                Ok(answer(&details(&id, number, find(&entry, number)?)))
            })
            .await
        }
        (&Method::POST, []) => {
            let body = read(&call, body, SHORT).await?;
            blocking(move || open(&call, &id, &body)).await
        }
        (&Method::POST, [which, what @ ("merge" | "status" | "title")]) => {
            let (number, what) = (number(which)?, (*what).to_owned());
            let body = read(&call, body, SHORT).await?;
            blocking(move || change(&call, &id, number, &what, &body)).await
        }
        (&Method::POST, [_, "comment", ..]) => Err(Problem::bad("Comments are not kept here")),
        _ => Err(Problem::no_route()),
    }
}

fn find(entry: &Entry, number: u64) -> Answer<&Proposal> {
    entry.proposals.get(&number).ok_or_else(Problem::no_route)
}

/// Returns what clients call the state of a pull request.
fn state(proposal: &Proposal) -> &'static str {
    match proposal.status {
        Status::Open => "open",
        Status::Merged(_) => "merged",
        _ => "closed",
    }
}

/// Returns what is said about a pull request in lists.
fn object(id: &RepoId, number: u64, proposal: &Proposal) -> Value {
    json!({
        "num": number,
        "title": proposal.title,
        "author": { "name": proposal.author },
        "createdAt": time(&proposal.time),
        "status": state(proposal),
        "repo": { "name": id.shown(), "type": id.kind.name() },
        "isPullRequest": true,
    })
}

fn details(id: &RepoId, number: u64, proposal: &Proposal) -> Value {
    let mut object = object(id, number, proposal);
    object["filesWithConflicts"] = json!([]);
    object["changes"] = json!({ "base": format!("refs/heads/{MAIN}") });
    if let Status::Merged(commit) = &proposal.status {
        object["changes"]["mergeCommitId"] = commit.as_str().into();
    }
    object["diffUrl"] = "".into();
    object["events"] = json!([]);
    if !proposal.description.is_empty() {
        let data = json!({
            "edited": false,
            "hidden": false,
            "latest": { "raw": proposal.description },
        });
        object["events"] = json!([event("comment", &proposal.author, &proposal.time, data)]);
    }
    object
}

/// Returns an event as clients parse it.
fn event(kind: &str, author: &str, at: &str, data: Value) -> Value {
    let author = json!({ "name": author });
    json!({ "id": "0", "type": kind, "author": author, "createdAt": time(at), "data": data })
}

fn list(call: &Call, id: &RepoId) -> Answer {
    let entry = call.who.read(&call.hub, id)?;
    let wanted = |name| call.query.get(name).filter(|value| *value != "all");
    let fits = |proposal: &Proposal| {
        let open = proposal.status == Status::Open;
        wanted("author").is_none_or(|author| author == proposal.author)
            && wanted("type").is_none_or(|kind| kind == "pull_request")
            && wanted("status").is_none_or(|status| (status == "open") == open)
    };
    let found = entry.proposals.iter().rev().filter(|(_, proposal)| fits(proposal));
    let found: Vec<_> = found.map(|(number, proposal)| object(id, *number, proposal)).collect();
    let page = call.query.get("p").map_or(Ok(0), str::parse::<usize>);
    let page = page.map_err(|_| Problem::bad("p is no number"))?;
    let start = page.saturating_mul(PAGE).min(found.len());
    let shown = &found[start..found.len().min(start + PAGE)];
    Ok(answer(&json!({ "discussions": shown, "count": found.len(), "start": start })))
}

/// Opens a pull request without changes.
fn open(call: &Call, id: &RepoId, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        title: String,
        #[serde(default)]
        description: String,
        #[serde(default)]
        pull_request: bool,
    }
    call.who.write(&call.hub, id)?;
    let asked: Asked = parse(body)?;
    if !asked.pull_request {
        return Err(Problem::bad("There are pull requests here, and no other discussions"));
    }
    let proposal = Proposal::new(&asked.title, &asked.description, call.who.name())?;
    record(call, "propose", id, json!({ "title": asked.title }))?;
    let store = call.store();
    let number = store.propose(&id.repo, MAIN, &proposal)?;
    Ok(answer(&json!({ "num": number, "pullRequest": true })))
}

/// Merges, closes or renames a pull request, or opens it again.
fn change(call: &Call, id: &RepoId, number: u64, what: &str, body: &[u8]) -> Answer {
    #[derive(Default, Deserialize)]
    struct Asked {
        status: Option<String>,
        title: Option<String>,
    }
    let entry = call.who.write(&call.hub, id)?;
    let title = find(&entry, number)?.title.as_str();
    let asked: Asked = if body.is_empty() { Asked::default() } else { parse(body)? };
    let known = match (what, asked.status.as_deref()) {
        ("merge", _) | ("status", Some("open" | "closed")) => true,
        ("title", _) => asked.title.is_some(),
        _ => false,
    };
    if !known {
        return Err(Problem::bad("The status is \"open\" or \"closed\", or the title missing"));
    }
    record(call, what, id, json!({ "pull": number, "status": asked.status }))?;
    let now = || call.who.read(&call.hub, id).map(|entry| entry.time.clone());
    let (repo, author) = (&id.repo, call.who.name());
    let store = call.store();
    let done = match (what, asked.status.as_deref(), &asked.title) {
        ("merge", ..) => {
            let message = format!("{title} (#{number})");
            store.merge(repo, number, &PushOptions::new().message(&message).of(&entry))?;
            json!({})
        }
        ("status", Some(status @ ("open" | "closed")), _) => {
            if status == "open" {
                store.reopen(repo, number)?;
            } else {
                store.close(repo, number)?;
            }
            let data = json!({ "status": status });
            json!({ "newStatus": event("status-change", author, &now()?, data) })
        }
        ("title", _, Some(new)) => {
            let old = store.retitle(repo, number, new)?;
            let data = json!({ "from": old, "to": new });
            json!({ "newTitle": event("title-change", author, &now()?, data) })
        }
        _ => return Err(Problem::no_route()),
    };
    Ok(answer(&done))
}
