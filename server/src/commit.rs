//! Commits: what is to be uploaded how, and the changes that become a revision.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use at1w_container::Digest;
use at1w_registry::{
    Change, Error as StoreError, Expected, Proposal, PushOptions, Pushed, Store, check_path,
    proposal_branch, proposal_number,
};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tempfile::{NamedTempFile, TempPath};

use crate::address::RepoId;
use crate::body::{Quota, SHORT, Spooled, read, spool};
use crate::call::{Call, blocking, json as answer, parse, worked};
use crate::error::{Answer, Problem, header_value};
use crate::hub::Hub;
use crate::listing::mark;
use crate::manage::record;
use crate::revision::{find, stored};

/// Files of at least this many bytes do not travel within a commit.
const LARGE: u64 = 1 << 20;

/// The longest line of a commit, in bytes: a file of 36 MB.
pub(crate) const LINE: u64 = 48 << 20;

/// The fewest digits by which a parent is named.
const SHORTEST: usize = 7;

/// The longest message of a commit, in bytes.
pub(crate) const MESSAGE: usize = 64 << 10;

/// The largest number of changes in a commit.
pub(crate) const CHANGES: usize = 100_000;

/// Says for each file how it is to be uploaded, and what is there now.
pub(crate) async fn preupload(call: Arc<Call>, id: RepoId, revision: String, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Asked {
        files: Vec<AskedFile>,
    }
    #[derive(Deserialize)]
    struct AskedFile {
        path: String,
        size: u64,
    }
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let entry = call.who.write(&call.hub, &id)?;
        let asked: Asked = parse(&body)?;
        let found = find(&call.hub, &id, &entry, &revision)?;
        let tree = call.hub.tree(&id.repo.namespace, &found)?;
        let limit = call.hub.config.limits.largest();
        let mut files = Vec::with_capacity(asked.files.len());
        for AskedFile { path, size } in asked.files {
            if size > limit {
                let message = format!("{path} has {size} bytes, at most {limit} are taken");
                return Err(Problem::bad(message));
            }
            check_path(&path)?;
            let large = size >= LARGE || path.to_ascii_lowercase().ends_with(".safetensors");
            let mut file = json!({
                "path": path,
                "uploadMode": if large { "lfs" } else { "regular" },
                "shouldIgnore": false,
            });
            if let Some(oid) = mark(&tree, &path, large) {
                file["oid"] = oid.into();
            }
            files.push(file);
        }
        Ok(answer(&json!({ "files": files })))
    })
    .await
}

/// A line of a commit.
#[derive(Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
pub(crate) enum Line<'a> {
    #[serde(rename_all = "camelCase")]
    Header {
        #[serde(default)]
        summary: String,
        #[serde(default)]
        description: String,
        parent_commit: Option<String>,
    },
    File {
        path: String,
        #[serde(borrow)]
        content: Cow<'a, str>,
        #[serde(default)]
        encoding: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    LfsFile {
        path: String,
        oid: String,
        algo: Option<String>,
        size: Option<u64>,
    },
    DeletedFile {
        path: String,
    },
    DeletedFolder {
        path: String,
    },
}

/// Parses a line of a commit.
pub(crate) fn parse_line(line: &[u8]) -> Answer<Line<'_>> {
    parse(line)
}

/// A commit does not begin with what it must.
fn headless() -> Problem {
    Problem::bad("A commit begins with its header")
}

/// The changes of a commit, with the files that travelled in it.
#[derive(Default)]
struct Parsed {
    /// Whether the first line has come, which is the header.
    begun: bool,
    message: String,
    parent: Option<String>,
    /// The files whose names say weights and that hold none.
    faults: Vec<String>,
    changes: Vec<(String, Change)>,
    files: Vec<TempPath>,
    /// The files that come to the namespace, or are there, with their lengths.
    lens: Vec<(Digest, u64)>,
}

impl Parsed {
    fn read(hub: &Hub, namespace: &str, body: &Spooled) -> Answer<Self> {
        let mut parsed = Self::default();
        let mut input = BufReader::with_capacity(256 << 10, body.file.reopen()?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let len = input.by_ref().take(LINE + 1).read_until(b'\n', &mut line)?;
            if len == 0 {
                return if parsed.begun { Ok(parsed) } else { Err(headless()) };
            }
            if len as u64 > LINE {
                let message = "A file in the commit is too large: upload it by LFS or Xet";
                return Err(Problem::too_large(message));
            }
            if parsed.changes.len() >= CHANGES {
                return Err(Problem::too_large(format!("More than {CHANGES} changes")));
            }
            if !line.trim_ascii().is_empty() {
                parsed.add(hub, namespace, parse_line(&line)?)?;
            }
        }
    }

    fn add(&mut self, hub: &Hub, namespace: &str, line: Line<'_>) -> Answer<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        let (path, change) = match line {
            Line::Header { .. } if !first => {
                return Err(Problem::bad("A commit has one header"));
            }
            _ if first && !matches!(line, Line::Header { .. }) => return Err(headless()),
            Line::Header { summary, description, parent_commit } => {
                let rest = if description.is_empty() {
                    String::new()
                } else {
                    format!("\n\n{description}")
                };
                self.message = format!("{summary}{rest}");
                if self.message.len() > MESSAGE {
                    let message = format!("The message has more than {MESSAGE} bytes");
                    return Err(Problem::too_large(message));
                }
                self.parent = parent_commit;
                return Ok(());
            }
            Line::File { path, content, encoding } => {
                if encoding.as_deref().unwrap_or("utf-8") != "base64" {
                    return Err(Problem::bad("The content of a file is not encoded in base64"));
                }
                let wrong = |_| Problem::bad(format!("The content of {path} is not base64"));
                let content = STANDARD.decode(content.as_bytes()).map_err(wrong)?;
                let mut file = NamedTempFile::new_in(hub.staging.path())?;
                file.write_all(&content)?;
                self.lens.push((Digest::of(&content), content.len() as u64));
                let file = file.into_temp_path();
                let change = Change::Add(file.to_path_buf());
                self.files.push(file);
                (path, change)
            }
            Line::LfsFile { path, oid, algo, size } => {
                if algo.as_deref().unwrap_or("sha256") != "sha256" {
                    return Err(Problem::bad("Large files are named by their SHA-256"));
                }
                let sha256: Digest = oid.parse().map_err(|_| Problem::bad("No SHA-256"))?;
                let there = hub.store.find_file(namespace, sha256)?;
                let Some(there) = there else {
                    return Err(Problem::bad(format!("{path}: {oid} was not uploaded")));
                };
                if size.is_some_and(|size| size != there.size) {
                    let message = format!("{path}: {oid} has {} bytes", there.size);
                    return Err(Problem::bad(message));
                }
                if there.root.is_none() && path.to_ascii_lowercase().ends_with(".safetensors") {
                    self.faults.push(path.clone());
                }
                self.lens.push((sha256, there.size));
                (path, Change::Stored(sha256))
            }
            Line::DeletedFile { path } => (path, Change::Remove),
            Line::DeletedFolder { path } => (path, Change::RemoveFolder),
        };
        self.changes.push((path, change));
        Ok(())
    }
}

/// Makes a commit.
pub(crate) async fn commit(call: Arc<Call>, id: RepoId, revision: String, body: Body) -> Answer {
    let (asked, of) = (Arc::clone(&call), id.clone());
    blocking(move || asked.who.write(&asked.hub, &of)).await?;
    let body = spool(&call, body, call.hub.config.limits.commit).await?;
    let slots = Arc::clone(&call.hub.committing);
    worked(&slots, move || make(&call, &id, &revision, &body)).await
}

fn make(call: &Call, id: &RepoId, revision: &str, body: &Spooled) -> Answer {
    let hub = &call.hub;
    let entry = call.who.write(hub, id)?;
    let name = stored(revision)?;
    let head = entry.branches.get(&name).ok_or_else(|| Problem::no_revision(revision))?;
    let pull = call.query.flag("create_pr");
    // A commit that is sent again after a lost answer is the same commit.
    let token = call.who.token().map_or("", |token| token.sha256());
    let request = format!("{token} {name} {pull} {} {}", body.sha256, body.len);
    let request = Digest::of(request.as_bytes()).to_string();
    if let Some(commit) = entry.done_for(Some(&request)) {
        let branch = entry.branches.iter().find(|(_, found)| found.commit == commit.id);
        let number = branch.and_then(|(branch, _)| proposal_number(branch)).filter(|_| pull);
        return Ok(done(call, id, &commit.id, number));
    }
    let parsed = Parsed::read(hub, &id.repo.namespace, body)?;
    let parent = parsed.parent.as_ref();
    let follows = |parent: &String| parent.len() >= SHORTEST && head.commit.starts_with(parent);
    if parent.is_some_and(|parent| !follows(parent)) {
        return Err(moved());
    }
    hub.check_allowance(&id.repo.namespace, &parsed.lens)?;
    // Files in base64 lie beside the body.
    let _quota = Quota::take(hub, body.len)?;
    record(call, "commit", id, json!({ "branch": name, "pull": pull, "bytes": body.len }))?;
    let store = call.store();
    let options = PushOptions::new()
        .message(&parsed.message)
        .request(request.as_str())
        .of(&entry)
        .level(hub.config.level);
    let changes = &parsed.changes;
    if !pull {
        let expected = parent.map_or(Expected::Any, |_| Expected::At(&head.commit));
        let options = options.branch(&name).expected(expected);
        let pushed = apply(hub, &store, id, changes, &options)?;
        hub.forget_files(&id.repo.namespace);
        return Ok(warned(done(call, id, &pushed.commit, None), &parsed.faults));
    }
    let title: String =
        parsed.message.lines().next().unwrap_or_default().chars().take(60).collect();
    let proposal = Proposal::new(&title, "", call.who.name())?;
    let mut number = entry.next_proposal();
    loop {
        let branch = proposal_branch(number);
        let options = options.branch(&branch).expected(Expected::New(Some(&head.commit)));
        let options = options.proposal(&proposal);
        match apply(hub, &store, id, changes, &options) {
            // Somebody else was faster.
            Err(problem) if problem.status == StatusCode::CONFLICT => number += 1,
            pushed => {
                hub.forget_files(&id.repo.namespace);
                let done = done(call, id, &pushed?.commit, Some(number));
                return Ok(warned(done, &parsed.faults));
            }
        }
    }
}

/// The parent of a commit is not the last one any more.
fn moved() -> Problem {
    let message = "A commit has happened since. Please refresh and try again.";
    Problem::new(StatusCode::PRECONDITION_FAILED, message)
}

/// Returns the answer to a commit that is made.
fn done(call: &Call, id: &RepoId, commit: &str, pull: Option<u64>) -> Response<Body> {
    let at = format!("{}/{}{}", call.base(), id.kind.folder(), id.shown());
    let mut done = json!({
        "success": true,
        "commitOid": commit,
        "commitUrl": format!("{at}/commit/{commit}"),
        "hookOutput": "",
    });
    if let Some(number) = pull {
        done["pullRequestUrl"] = format!("{at}/discussions/{number}").into();
    }
    answer(&done)
}

/// Adds a warning that clients print about files that are not what their names say.
fn warned(mut response: Response<Body>, faults: &[String]) -> Response<Body> {
    if let Some(first) = faults.first() {
        let more = faults.len() - 1;
        let others = if more > 0 { format!(" (and {more} others)") } else { String::new() };
        let text = format!("weights; {first}{others} holds no weights, and is stored as it is");
        response.headers_mut().insert("x-hf-warning", header_value(&text));
    }
    response
}

/// Applies changes.
pub(crate) fn apply(
    hub: &Hub,
    store: &Store,
    id: &RepoId,
    changes: &[(String, Change)],
    options: &PushOptions<'_>,
) -> Answer<Pushed> {
    let pushed = store.apply(&id.repo, changes, options).map_err(|error| {
        let StoreError::NoFile { path, .. } = error else { return error.into() };
        let stored = changes.iter().find_map(|(at, change)| match change {
            Change::Stored(sha256) if *at == path => Some(sha256),
            _ => None,
        });
        match stored {
            Some(sha256) => {
                Problem::bad(format!("{path}: {sha256} is damaged or gone: upload it again"))
            }
            None => Problem::no_entry(&path),
        }
    })?;
    if hub.config.differences.every > 0 {
        hub.base_queue.note(&id.repo.namespace, &pushed.weights);
    }
    Ok(pushed)
}
