//! What repositories hold: lists, trees, branches and commits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use at1w_container::Digest;
use at1w_registry::{Commit, Entry, File, Original, Ref, Revision, Tree, proposal_number};
use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use serde_json::{Map, Value, json};

use crate::address::{Kind, RepoId, decode, encode};
use crate::call::{Call, json as answer, parse};
use crate::error::{Answer, Problem, header_value};
use crate::files::{etag, is_large, pointer};
use crate::revision::{check_signed, find, find_stored, is_hidden, upstream_names};

/// The number of entries of a page. Some clients follow no pages.
const PAGE: usize = 5000;

/// The number of paths that one request may ask about.
const PATHS: usize = 10_000;

/// The names of weights in one file, and of the index of those in several.
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The largest sum of the headers that one answer has, in bytes.
const HEADERS: usize = 32 << 20;

/// Returns a time as clients parse it.
pub(crate) fn time(time: &str) -> String {
    format!("{}.000Z", time.trim_end_matches('Z'))
}

/// Returns the next page of a list, with the header that leads to the one after.
fn page(call: &Call, items: Vec<Value>, default: usize) -> Answer {
    let number = |name| call.query.get(name).map(str::parse::<usize>).transpose();
    let wrong = |_| Problem::bad("limit and cursor are numbers");
    let limit = number("limit").map_err(wrong)?.unwrap_or(default).clamp(1, PAGE);
    let from = number("cursor").map_err(wrong)?.unwrap_or(0).min(items.len());
    let to = from.saturating_add(limit).min(items.len());
    let mut response = answer(&&items[from..to]);
    if to < items.len() {
        let kept = ["recursive", "expand", "search", "author", "sort", "full"];
        let kept = kept
            .iter()
            .filter_map(|name| Some(format!("{name}={}&", encode(call.query.get(name)?))));
        let kept: String = kept.collect();
        let url = format!("{}{}?{kept}limit={limit}&cursor={to}", call.base(), call.path);
        response.headers_mut().insert(LINK, header_value(&format!("<{url}>; rel=\"next\"")));
    }
    Ok(response)
}

/// Lists the repositories that the caller may read.
pub(crate) fn repos(call: &Call, kind: Kind) -> Answer {
    if matches!(call.who, crate::access::Who::Nobody) {
        return Err(Problem::needs_token());
    }
    let author = call.query.get("author").map(str::to_ascii_lowercase);
    let author = author.as_deref();
    if author.is_some_and(|author| at1w_registry::check_namespace(author).is_err()) {
        return Ok(answer(&[(); 0]));
    }
    let search = call.query.get("search").unwrap_or_default().to_lowercase();
    let mut found = Vec::new();
    for entry in call.hub.store.repos(author)? {
        let Ok(id) = RepoId::of(&entry.name) else { continue };
        if id.kind == kind && call.who.sees(&entry) && id.shown().to_lowercase().contains(&search) {
            found.push((entry.time.clone(), object(&id, &entry, None)));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0));
    page(call, found.into_iter().map(|(_, object)| object).collect(), PAGE)
}

/// Returns what is said about a repository in lists.
fn object(id: &RepoId, entry: &Entry, found: Option<&Ref>) -> Value {
    let main = found.or_else(|| entry.branches.get(at1w_registry::MAIN));
    let shown = id.shown();
    json!({
        "_id": Digest::of(shown.as_bytes()).to_string()[..24],
        "id": shown,
        "modelId": shown,
        "author": shown.split('/').next(),
        "sha": main.map(|found| &found.commit),
        "lastModified": time(&entry.time),
        "createdAt": time(&entry.created),
        "private": entry.private,
        "gated": false,
        "disabled": false,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "usedStorage": main.map_or(0, |found| found.bytes),
    })
}

/// Returns the parts of an entry of a list that a large file has.
fn lfs(file: &File, name: &str) -> Value {
    json!({ name: file.sha256.to_string(), "size": file.size, "pointerSize": pointer(file).len() })
}

/// Returns what is said about a revision.
pub(crate) fn info(call: &Call, id: &RepoId, revision: Option<&str>) -> Answer {
    let entry = call.who.read(&call.hub, id)?;
    let found = find(&call.hub, id, &entry, revision.unwrap_or(at1w_registry::MAIN))?;
    let tree = call.hub.tree(&id.repo.namespace, &found)?;
    let blobs = call.query.flag("blobs");
    let sibling = |(path, file): (&String, &File)| {
        let mut sibling = json!({ "rfilename": path });
        if blobs {
            sibling["size"] = file.size.into();
            sibling["blobId"] = file.git.clone().into();
            if is_large(file) {
                sibling["lfs"] = lfs(file, "sha256");
            }
        }
        sibling
    };
    let mut object = object(id, &entry, Some(&found));
    object["siblings"] = tree.files.iter().map(sibling).collect();
    if tree.files.keys().any(|path| path.ends_with(".safetensors")) {
        object["tags"] = json!(["safetensors"]);
    }
    let expanded: Vec<_> = call.query.all("expand").chain(call.query.all("expand[]")).collect();
    let named = revision.unwrap_or(at1w_registry::MAIN);
    if expanded.contains(&"safetensors")
        && check_signed(&call.hub, id, &entry, named, &tree).is_ok()
    {
        let counts = parameters(call, id, &tree)?;
        let total = counts.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        object["safetensors"] = json!({ "parameters": counts, "total": total });
    }
    if !expanded.is_empty() {
        let kept =
            |name: &String| name == "id" || name == "_id" || expanded.contains(&name.as_str());
        let all = object.as_object_mut().map(std::mem::take).unwrap_or_default();
        object = all.into_iter().filter(|(name, _)| kept(name)).collect::<Map<_, _>>().into();
    }
    Ok(answer(&object))
}

/// Counts the parameters of a model: of `model.safetensors`, or of the shards that its index names,
/// or of all weights, by dtype. Those that lie there twice count once.
pub(crate) fn parameters(call: &Call, id: &RepoId, tree: &Tree) -> Answer<BTreeMap<String, u64>> {
    let weights: Vec<_> = match (tree.files.get(WEIGHTS), tree.files.contains_key(INDEX)) {
        (Some(file), _) => vec![file],
        (None, true) => {
            let (_, shards) = index(call, id, tree, INDEX)?;
            shards.iter().filter_map(|shard| tree.files.get(shard)).collect()
        }
        (None, false) => {
            let files = tree.files.iter().filter(|(path, _)| path.ends_with(".safetensors"));
            files.map(|(_, file)| file).collect()
        }
    };
    let mut seen = HashSet::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for file in weights.into_iter().filter(|file| file.root.is_some() && seen.insert(file.sha256)) {
        let original = call.hub.original(&id.repo.namespace, file)?;
        let Original::Packed(reader) = &*original else { continue };
        for tensor in reader.header().tensors() {
            let count = tensor.shape().iter().fold(1, |count: u64, dim| count.saturating_mul(*dim));
            let sum = counts.entry(tensor.dtype_name().to_owned()).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    Ok(counts)
}

fn entry_of(path: &str, file: &File) -> Value {
    let mut entry = json!({ "type": "file", "path": path, "size": file.size, "oid": file.git });
    if is_large(file) {
        entry["lfs"] = lfs(file, "oid");
    }
    entry
}

fn folder_of(path: &str) -> Value {
    let oid = &Digest::of(path.as_bytes()).to_string()[..40];
    json!({ "type": "directory", "path": path, "oid": oid, "size": 0 })
}

/// Lists a folder of a revision.
pub(crate) fn tree(call: &Call, id: &RepoId, revision: &str, folder: &str) -> Answer {
    let entry = call.who.read(&call.hub, id)?;
    let found = find(&call.hub, id, &entry, revision)?;
    let tree = call.hub.tree(&id.repo.namespace, &found)?;
    let recursive = call.query.flag("recursive");
    let folder = folder.trim_matches('/');
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut entries = BTreeMap::new();
    let within = tree.files.range(prefix.clone()..);
    for (path, file) in within.take_while(|(path, _)| path.starts_with(&prefix)) {
        let below = &path[prefix.len()..];
        let folders = below.match_indices('/').map(|(at, _)| &path[..prefix.len() + at]);
        for folder in folders.take(if recursive { usize::MAX } else { 1 }) {
            entries.entry(folder.to_owned()).or_insert_with(|| folder_of(folder));
        }
        if recursive || !below.contains('/') {
            entries.insert(path.clone(), entry_of(path, file));
        }
    }
    if entries.is_empty() && !folder.is_empty() {
        let name = HeaderName::from_static("x-repo-commit");
        return Err(Problem::no_entry(folder).header(name, found.commit));
    }
    page(call, entries.into_values().collect(), PAGE)
}

/// Returns what is known about some paths of a revision.
pub(crate) fn paths(call: &Call, id: &RepoId, revision: &str, body: &[u8]) -> Answer {
    #[derive(serde::Deserialize)]
    struct Asked {
        paths: Vec<String>,
    }
    let entry = call.who.read(&call.hub, id)?;
    let found = find(&call.hub, id, &entry, revision)?;
    let is_json = call.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.contains("json"));
    let asked = match is_json {
        true => parse::<Asked>(body)?.paths,
        false => form(body, "paths")?,
    };
    if asked.len() > PATHS {
        return Err(Problem::too_large(format!("More than {PATHS} paths")));
    }
    let tree = call.hub.tree(&id.repo.namespace, &found)?;
    let mut entries = Vec::new();
    for path in &asked {
        let path = path.trim_end_matches('/');
        if let Some(file) = tree.files.get(path) {
            entries.push(entry_of(path, file));
        } else if !path.is_empty() {
            let prefix = format!("{path}/");
            let next = tree.files.range(prefix.clone()..).next();
            if next.is_some_and(|(path, _)| path.starts_with(&prefix)) {
                entries.push(folder_of(path));
            }
        }
    }
    Ok(answer(&entries))
}

/// Returns the values of a field of a form.
fn form(body: &[u8], field: &str) -> Answer<Vec<String>> {
    let body = std::str::from_utf8(body).map_err(|_| Problem::bad("The form is not UTF-8"))?;
    let mut values = Vec::new();
    for pair in body.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(name, true)? == field {
            values.push(decode(value, true)?);
        }
    }
    Ok(values)
}

/// Lists branches, tags and pull requests.
pub(crate) fn refs(call: &Call, id: &RepoId) -> Answer {
    let entry = call.who.read(&call.hub, id)?;
    let listed = |folder: &str, refs: &BTreeMap<String, Ref>| {
        let shown = refs.keys().filter(|name| !is_hidden(name));
        let named = shown.map(|name| -> Answer<Value> {
            let commit = find(&call.hub, id, &entry, name)?.commit;
            let full = format!("{folder}{name}");
            Ok(json!({ "name": name, "ref": full, "targetCommit": commit }))
        });
        named.collect::<Answer<Value>>()
    };
    let mut refs = json!({
        "branches": listed("refs/heads/", &entry.branches)?,
        "converts": [],
        "tags": listed("refs/tags/", &entry.tags)?,
    });
    if call.query.get("include_prs").is_some() || call.query.get("include_pull_requests").is_some()
    {
        let pulls = entry.branches.iter().filter_map(|(name, found)| {
            let name = format!("refs/pr/{}", proposal_number(name)?);
            Some(json!({ "name": name, "ref": name, "targetCommit": found.commit }))
        });
        refs["pullRequests"] = pulls.collect();
    }
    Ok(answer(&refs))
}

/// Returns the commits of a revision, the last one first, by the names that clients know.
pub(crate) fn history(
    call: &Call,
    id: &RepoId,
    entry: &Entry,
    revision: &str,
) -> Answer<Vec<(String, Commit)>> {
    let found = find_stored(&call.hub, id, entry, revision)?;
    let named = Revision { repo: id.repo.clone(), revision: Some(found.commit) };
    let (_, commits) = call.hub.store.history(&named)?;
    let names: HashMap<_, _> =
        upstream_names(entry).map(|(name, at)| (at.commit.as_str(), name)).collect();
    let named = commits.into_iter().map(|commit| {
        let name = names.get(commit.id.as_str()).copied().unwrap_or(&commit.id).to_owned();
        (name, commit)
    });
    Ok(named.collect())
}

/// Splits a message into its title and what follows.
pub(crate) fn title(message: &str) -> (&str, &str) {
    let (title, more) = message.split_once('\n').unwrap_or((message, ""));
    (title, more.trim_start())
}

/// Lists the commits of a revision, the last one first.
pub(crate) fn commits(call: &Call, id: &RepoId, revision: &str) -> Answer {
    let entry = call.who.read(&call.hub, id)?;
    let commits = history(call, id, &entry, revision)?;
    let commits = commits.iter().map(|(name, commit)| {
        let (title, message) = title(&commit.message);
        json!({
            "id": name,
            "title": title,
            "message": message,
            "authors": [{ "user": commit.author }],
            "date": time(&commit.time),
        })
    });
    page(call, commits.collect(), PAGE)
}

/// Reads an index of weights; returns it with the paths of the shards that it names.
fn index(call: &Call, id: &RepoId, tree: &Tree, path: &str) -> Answer<(Value, Vec<String>)> {
    let file = tree.files.get(path).ok_or_else(|| Problem::no_entry(path))?;
    if file.size > crate::body::SHORT {
        return Err(Problem::too_large("The index is too large"));
    }
    let index = call.hub.original(&id.repo.namespace, file)?.read(0..file.size)?;
    let index: Value = parse(&index)?;
    let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let shards = index["weight_map"].as_object().into_iter().flatten();
    let shards = shards.filter_map(|(_, shard)| Some(format!("{folder}{}", shard.as_str()?)));
    let shards: BTreeSet<_> = shards.collect();
    Ok((index, shards.into_iter().collect()))
}

/// Returns the headers of weights: of one file, or of those that an index names.
pub(crate) fn headers(call: &Call, id: &RepoId, path: &str) -> Answer<Response<Body>> {
    let entry = call.who.read(&call.hub, id)?;
    let revision = call.query.get("revision").unwrap_or(at1w_registry::MAIN);
    let found = find(&call.hub, id, &entry, revision)?;
    let tree = call.hub.tree(&id.repo.namespace, &found)?;
    check_signed(&call.hub, id, &entry, revision, &tree)?;
    let (index, shards) = index(call, id, &tree, path)?;
    let folder = path.rfind('/').map_or(0, |at| at + 1);
    // Headers are JSON already: they are copied as they are.
    let mut text = format!("{{\"index\":{index},\"headers\":{{").into_bytes();
    let mut between = "";
    for shard in shards {
        let file = tree.files.get(&shard).ok_or_else(|| Problem::no_entry(&shard))?;
        let original = call.hub.original(&id.repo.namespace, file)?;
        if let Original::Packed(reader) = &*original {
            let header = reader.header().bytes();
            if text.len() + header.len() > HEADERS {
                return Err(Problem::too_large("The headers are too large: read them by ranges"));
            }
            text.extend(format!("{between}{}:", Value::from(&shard[folder..])).into_bytes());
            text.extend(header);
            between = ",";
        }
    }
    text.extend(b"}}");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Returns the mark of what is at a path now, as `preupload` reports it.
pub(crate) fn mark(tree: &Tree, path: &str, large: bool) -> Option<String> {
    let file = tree.files.get(path)?;
    match large {
        true => Some(file.sha256.to_string()),
        false if is_large(file) => None,
        false => Some(etag(file)),
    }
}
