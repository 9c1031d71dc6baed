//! The protocol of `at1w push`, `pull` and `repo`, under `/api/at1w/v1`: a file is packed where it
//! lies, and only those of its tensors come that the namespace lacks.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use at1w_container::{Digest, Error as Packing, Limits};
use at1w_registry::exchange::{
    Committed, Described, FILES, History, Listed, Named, Question, Stock, TENSORS, Wish,
};
use at1w_registry::{
    Change, Error as StoreError, Expected, Outline, PushOptions, Revision, Signer, check_ref,
    signed_tree,
};
use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::json;
use tempfile::NamedTempFile;
use tracing::warn;

use crate::access::Who;
use crate::address::RepoId;
use crate::body::{Quota, SHORT, Spooled, read, spool};
use crate::call::{Call, blocking, json as answer_with, parse, worked};
use crate::commit::{CHANGES, LINE, MESSAGE, apply};
use crate::error::{Answer, Problem};
use crate::files;
use crate::hub::INDEX;
use crate::keep::{HEADER, keep};
use crate::manage::{check_new, record};
use crate::mirror::ensure;
use crate::revision::{find, find_stored};

/// The longest signature of a commit, in bytes.
const SIGNATURE: usize = 4 << 10;

/// Answers what `at1w` asks for.
pub(crate) async fn answer(call: Arc<Call>, segments: &[&str], body: Body) -> Answer {
    let get = call.method == Method::GET;
    let post = call.method == Method::POST;
    let id = |namespace: &str, name: &str| {
        RepoId::of(&format!("{namespace}/{name}")).map_err(|_| Problem::no_repo())
    };
    match *segments {
        ["repos"] if get => blocking(move || repos(&call)).await,
        ["entry", namespace, name] if get => {
            let id = id(namespace, name)?;
            blocking(move || Ok(answer_with(&call.who.read(&call.hub, &id)?))).await
        }
        ["log", namespace, name, ref revision @ ..] if get && revision.len() < 2 => {
            let (id, revision) = (id(namespace, name)?, revision.first().map(|&name| name.into()));
            blocking(move || log(&call, &id, revision)).await
        }
        ["tree", namespace, name, revision] if get => {
            let (id, revision) = (id(namespace, name)?, revision.to_owned());
            ensure(&call, &id, &revision, true).await?;
            blocking(move || tree(&call, &id, &revision)).await
        }
        ["resolve", namespace, name, revision, ref path @ ..] if !path.is_empty() => {
            let id = id(namespace, name)?;
            files::answer(call, id, revision.into(), path.join("/"), false).await
        }
        ["missing", namespace] if post => missing(call, namespace.into(), body).await,
        ["file", namespace] if post => file(call, namespace.into(), body).await,
        ["packed", namespace] if post => packed(call, namespace.into(), body).await,
        ["commit", namespace, name] if post => commit(call, id(namespace, name)?, body).await,
        [what @ ("tag" | "branch" | "remove" | "restore"), namespace, name] if post => {
            let (id, what) = (id(namespace, name)?, what.to_owned());
            let body = read(&call, body, SHORT).await?;
            blocking(move || edit(&call, id, &what, parse(&body)?)).await
        }
        _ => Err(Problem::no_route()),
    }
}

/// Lists the repositories that the caller may read.
fn repos(call: &Call) -> Answer {
    if matches!(call.who, Who::Nobody) {
        return Err(Problem::needs_token());
    }
    let namespace = call.query.get("namespace");
    let store = &call.hub.store;
    let repositories = store.repos(namespace)?.into_iter().filter(|entry| call.who.sees(entry));
    // A summary counts what is private as well.
    let all = |name: &str| call.who.token().is_some_and(|token| token.covers(name));
    let namespaces = store.summaries(namespace)?.into_iter().filter(|(name, _)| all(name));
    let (repositories, namespaces) = (repositories.collect(), namespaces.collect());
    Ok(answer_with(&Listed { repositories, namespaces }))
}

/// Lists the commits that lead to a revision.
fn log(call: &Call, id: &RepoId, revision: Option<String>) -> Answer {
    let entry = call.who.read(&call.hub, id)?;
    let found = revision.map(|name| find_stored(&call.hub, id, &entry, &name)).transpose()?;
    let revision = found.map(|found| found.commit);
    let named = Revision { repo: id.repo.clone(), revision };
    let (entry, commits) = call.hub.store.history(&named)?;
    Ok(answer_with(&History { entry, commits }))
}

/// Describes a revision.
fn tree(call: &Call, id: &RepoId, revision: &str) -> Answer {
    let hub = &call.hub;
    let entry = call.who.read(hub, id)?;
    let found = find_stored(hub, id, &entry, revision)?;
    let tree = hub.tree(&id.repo.namespace, &found)?.pinned();
    let tree = String::from_utf8(tree).map_err(Problem::internal)?;
    let named = Revision { repo: id.repo.clone(), revision: Some(found.commit) };
    let mut commit = hub.store.commit_of(&named)?;
    // What was fetched from upstream keeps the name that it has there.
    commit.id = find(hub, id, &entry, revision)?.commit;
    Ok(answer_with(&Described { commit, tree }))
}

/// Says what a namespace has of files and tensors.
async fn missing(call: Arc<Call>, namespace: String, body: Body) -> Answer {
    let body = read(&call, body, SHORT).await?;
    let (hub, token) = (Arc::clone(&call.hub), token_of(&call));
    let work = move || {
        call.who.write_namespace(&call.hub, &namespace)?;
        let asked: Question = parse(&body)?;
        if asked.files.len() > FILES || asked.tensors.len() > TENSORS {
            let message = format!("More than {FILES} files, or {TENSORS} tensors");
            return Err(Problem::too_large(message));
        }
        let digest = |text: &String| -> Answer<Digest> {
            text.parse().map_err(|_| Problem::bad(format!("{text:?} is no SHA-256")))
        };
        let store = &call.hub.store;
        let find = |text: &String| {
            let sha256 = digest(text)?;
            if call.hub.check_damage(&namespace, sha256).is_err() {
                return Ok(None);
            }
            Ok(store.find_file(&namespace, sha256)?)
        };
        let files = asked.files.iter().map(find).collect::<Answer<_>>()?;
        let keys = asked.tensors.iter().map(digest).collect::<Answer<Vec<_>>>()?;
        let tensors = match keys.is_empty() {
            true => Vec::new(),
            false => store.known_tensors(&namespace, &keys)?,
        };
        Ok(answer_with(&Stock { files, tensors }))
    };
    hub.asking.worked(&token, work).await
}

/// Returns a number of the query.
fn number(call: &Call, name: &str) -> Answer<u64> {
    let number = call.query.get(name).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Problem::bad(format!("{name} is no number")))
}

/// Checks that the caller may write to a namespace, and writes a body to the staging disk.
async fn take(call: &Arc<Call>, namespace: &str, body: Body) -> Answer<Spooled> {
    let (asked, of) = (Arc::clone(call), namespace.to_owned());
    blocking(move || asked.who.write_namespace(&asked.hub, &of)).await?;
    spool(call, body, call.hub.config.limits.largest()).await
}

/// Stores a file that is not packed.
async fn file(call: Arc<Call>, namespace: String, body: Body) -> Answer {
    let body = take(&call, &namespace, body).await?;
    let (hub, token) = (Arc::clone(&call.hub), token_of(&call));
    let work = move || {
        if call.query.get("sha256") != Some(body.sha256.to_string().as_str()) {
            return Err(Problem::bad("The file is not what its SHA-256 says"));
        }
        let kept = keep(&call.hub, &namespace, body.sha256, body.file.path(), &())?;
        Ok(answer_with(&kept))
    };
    hub.packing.worked(&token, work).await
}

/// Stores a file that was packed where it lies. The body has the stored bytes of the tensors that
/// come, the index with the trailer, and the outline.
async fn packed(call: Arc<Call>, namespace: String, body: Body) -> Answer {
    let body = take(&call, &namespace, body).await?;
    let (bytes, tail) = (number(&call, "bytes")?, number(&call, "tail")?);
    let rest = body.len.checked_sub(bytes).filter(|&rest| rest >= tail);
    let rest = rest.ok_or_else(|| Problem::bad("The body is cut short"))?;
    if rest > INDEX {
        return Err(Problem::too_large("The index of the file is too large"));
    }
    let share = call.hub.memory.wait(rest).await?;
    let (hub, token) = (Arc::clone(&call.hub), token_of(&call));
    let work = move || {
        let _share = share;
        let mut input = body.file.reopen()?;
        input.seek(SeekFrom::Start(bytes))?;
        let mut rest = Vec::new();
        input.read_to_end(&mut rest)?;
        let (tail, outline) = rest.split_at(tail as usize);
        // Files that come by other ways are held to the same header and the same length.
        let limits = Limits::default()
            .index_len(HEADER.saturating_add(tail.len() as u64))
            .original_len(call.hub.config.limits.largest());
        let outline = parse::<Outline>(outline)?.with_tail(tail.to_vec());
        drop(rest);
        input.rewind()?;
        let store = call.store().limits(limits);
        let original = store.original_of(&outline).map_err(refused)?;
        call.hub.check_allowance(&namespace, &[original])?;
        let stored = store.store_outline(&namespace, &outline, &mut input.take(bytes), &());
        let stored = stored.map_err(refused)?;
        call.hub.note_stored(&namespace, &stored);
        Ok(answer_with(&stored))
    };
    hub.packing.worked(&token, work).await
}

/// Returns the answer about a file that was packed elsewhere, and was not stored.
fn refused(error: StoreError) -> Problem {
    match &error {
        StoreError::Container(large) if matches!(large.innermost(), Packing::Limit { .. }) => {
            return Problem::too_large(large.to_string()).code("Limit");
        }
        StoreError::Outdated(_) => warn!(%error, "a push relied on what is gone or damaged"),
        _ => {}
    }
    error.into()
}

/// Makes a commit, and the repository if there is none.
async fn commit(call: Arc<Call>, id: RepoId, body: Body) -> Answer {
    let body = take(&call, &id.repo.namespace, body).await?;
    let slots = Arc::clone(&call.hub.committing);
    worked(&slots, move || make(&call, &id, &body)).await
}

fn make(call: &Call, id: &RepoId, body: &Spooled) -> Answer {
    let hub = &call.hub;
    let mut input = BufReader::with_capacity(256 << 10, body.file.reopen()?);
    let mut line = Vec::new();
    input.by_ref().take(LINE).read_until(b'\n', &mut line)?;
    let wish: Wish = parse(&line)?;
    check_ref(&wish.branch)?;
    let signature = wish.signature.as_ref().map_or(0, |(_, signature)| signature.len());
    if signature > SIGNATURE {
        return Err(Problem::too_large(format!("The signature has more than {SIGNATURE} bytes")));
    }
    if wish.message.len() > MESSAGE {
        return Err(Problem::too_large(format!("The message has more than {MESSAGE} bytes")));
    }
    if wish.files.len() + wish.removed.len() > CHANGES {
        return Err(Problem::too_large(format!("More than {CHANGES} changes")));
    }
    let entry = match hub.store.entry(&id.repo) {
        Err(StoreError::NoRepo { .. }) => None,
        entry => Some(entry?),
    };
    let request = request(call, id, body);
    if let Some(commit) = entry.as_ref().and_then(|entry| entry.done_for(Some(&request))) {
        let (commit, tree) = (commit.id.clone(), commit.tree.to_string());
        return Ok(answer_with(&Committed { commit, tree, new: true, stored: 0, healed: 0 }));
    }
    // Files lie beside the body.
    let _quota = Quota::take(hub, body.len)?;
    let (mut changes, mut files, mut lens) = (Vec::new(), Vec::new(), Vec::new());
    for file in &wish.files {
        let sha256 = file.sha256.parse().map_err(|_| Problem::bad("No SHA-256"))?;
        let change = match file.len {
            None => {
                if let Some(there) = hub.store.find_file(&id.repo.namespace, sha256)? {
                    lens.push((sha256, there.size));
                }
                Change::Stored(sha256)
            }
            Some(len) => {
                lens.push((sha256, len));
                let file = small(&mut input, hub.staging.path(), len, sha256)?.into_temp_path();
                let change = Change::Add(file.to_path_buf());
                files.push(file);
                change
            }
        };
        changes.push((file.path.clone(), change));
    }
    hub.check_allowance(&id.repo.namespace, &lens)?;
    changes.extend(wish.removed.iter().map(|path| (path.clone(), Change::Remove)));
    let at = entry.as_ref().and_then(|entry| entry.branches.get(&wish.branch));
    if at.is_none() {
        check_new(&wish.branch)?;
    }
    if wish.base.is_some() && at.is_none() {
        let message = format!("The branch {} was removed meanwhile", wish.branch);
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, message));
    }
    let more = json!({ "branch": wish.branch, "files": changes.len(), "bytes": body.len });
    record(call, "push", id, more)?;
    let sign = |message: &str| match &wish.signature {
        Some((tree, signature)) if tree.parse().is_ok_and(|tree| signed_tree(&tree) == message) => {
            Ok(signature.clone())
        }
        _ => Err("the branch has moved, and the signature is of another tree: push again".into()),
    };
    let mut options = PushOptions::new()
        .branch(&wish.branch)
        .message(&wish.message)
        .parent(wish.parent.as_deref().or(wish.base.as_deref()))
        .request(request.as_str())
        .level(hub.config.level)
        .sign(wish.signature.is_some().then_some(&sign as &Signer<'_>));
    if let Some(entry) = &entry {
        options = options.of(entry);
    }
    if let Some(base) = wish.base.as_deref().filter(|_| wish.exact) {
        options = options.expected(Expected::At(base));
    }
    let store = call.store();
    let pushed = apply(hub, &store, id, &changes, &options)?;
    hub.forget_files(&id.repo.namespace);
    Ok(answer_with(&Committed::from(&pushed)))
}

/// Returns the SHA-256 of the token of a caller.
fn token_of(call: &Call) -> String {
    call.who.token().map_or(String::new(), |token| token.sha256().into())
}

/// Returns the key of a request: one that is sent again after a lost answer is the same one.
fn request(call: &Call, id: &RepoId, body: &Spooled) -> String {
    let token = token_of(call);
    Digest::of(format!("{token} push {} {} {}", id.repo, body.sha256, body.len).as_bytes())
        .to_string()
}

/// Takes a small file out of the body of a commit.
fn small(input: &mut impl Read, folder: &Path, len: u64, sha256: Digest) -> Answer<NamedTempFile> {
    if len > SHORT {
        return Err(Problem::too_large("A file within a commit is too large"));
    }
    let mut content = Vec::new();
    input.take(len).read_to_end(&mut content)?;
    if content.len() as u64 != len || Digest::of(&content) != sha256 {
        return Err(Problem::bad("A file within the commit is not what its SHA-256 says"));
    }
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(&content)?;
    Ok(file)
}

/// Makes or removes a branch or a tag, removes a repository, or restores what was removed.
fn edit(call: &Call, id: RepoId, what: &str, named: Named) -> Answer {
    let hub = &call.hub;
    if what == "restore" {
        // Nobody else learns whether there was one.
        call.who.write_namespace(hub, &id.repo.namespace)?;
    } else {
        call.who.write(hub, &id)?;
    }
    record(call, what, &id, json!({ "revision": named.revision, "name": named.name }))?;
    let store = call.store();
    let revision = Revision { repo: id.repo, revision: named.revision };
    let found = match what {
        "tag" => Some(store.tag(&revision, &named.name)?),
        "branch" => Some(store.branch(&revision, &named.name)?),
        "remove" => store.remove(&revision).map(|()| None)?,
        _ => store.restore(&revision).map(|()| None)?,
    };
    Ok(answer_with(&found))
}
