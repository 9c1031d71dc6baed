//! Uploads by Git LFS, in one part or in many.

use std::io::{Write, copy};
use std::sync::Arc;

use at1w_container::{Digest, ReadAt};
use at1w_remote::RemoteFile;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use axum::http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::address::RepoId;
use crate::body::{Quota, SHORT, Spooled, read, spool};
use crate::call::{Call, blocking, json as respond, parse, text, worked};
use crate::error::{Answer, Problem, header_value};
use crate::hub::Hub;
use crate::keep::keep;
use crate::token::Role;
use crate::xet::check_staged;

/// Files of at most this many bytes are uploaded in one part.
const ONE_PART: u64 = 64 << 20;

/// The least length of a part, in bytes.
const PART: u64 = 16 << 20;

/// The number of bytes of a part that are read at a time.
const PIECE: u64 = 4 << 20;

/// The largest number of parts.
const PARTS: u64 = 2000;

/// The largest number of objects in a request.
const OBJECTS: usize = 1000;

/// How long an address for an upload is good, in seconds.
const GOOD: u64 = 24 * 3600;

/// What an address for an upload allows.
#[derive(Clone, Serialize, Deserialize)]
struct Claim {
    /// The SHA-256 of the token.
    token: String,
    namespace: String,
    oid: String,
    size: u64,
    /// The upload in parts that it belongs to.
    upload: Option<String>,
    /// The part, and the length of one.
    part: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

/// Says for each object how it is uploaded.
async fn batch(call: Arc<Call>, id: RepoId, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Batch {
        operation: String,
        #[serde(default)]
        transfers: Vec<String>,
        objects: Vec<Object>,
    }
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        call.who.write(&call.hub, &id)?;
        let batch: Batch = parse(&body)?;
        if batch.operation != "upload" {
            return Err(Problem::bad("Files are downloaded by their addresses, not by LFS"));
        }
        if batch.objects.len() > OBJECTS {
            return Err(Problem::too_large(format!("More than {OBJECTS} objects")));
        }
        let asked = batch.objects.iter();
        let asked = asked.filter_map(|object| Some((object.oid.parse().ok()?, object.size)));
        call.hub.check_allowance(&id.repo.namespace, &asked.collect::<Vec<_>>())?;
        let has = |name: &str| batch.transfers.iter().any(|known| known == name);
        let mut many = false;
        let mut objects = Vec::with_capacity(batch.objects.len());
        for object in &batch.objects {
            let (object, parts) = describe(&call, &id, object, has("multipart"), has("xet"))?;
            many |= parts;
            objects.push(object);
        }
        let transfer = match (has("xet"), many) {
            (true, _) => "xet",
            (false, true) => "multipart",
            (false, false) => "basic",
        };
        let json = json!({ "transfer": transfer, "objects": objects, "hash_algo": "sha256" });
        let mut response = respond(&json);
        let kind = HeaderValue::from_static("application/vnd.git-lfs+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    })
    .await
}

/// Says how an object is uploaded, and whether in parts.
fn describe(
    call: &Call,
    id: &RepoId,
    object: &Object,
    multipart: bool,
    xet: bool,
) -> Answer<(Value, bool)> {
    let Object { oid, size } = object;
    let refused = |message: String| {
        let error = json!({ "code": 422, "message": message });
        Ok((json!({ "oid": oid, "size": size, "error": error }), false))
    };
    let Ok(sha256) = oid.parse::<Digest>() else { return refused("no SHA-256".into()) };
    let limit = call.hub.config.limits.largest();
    if *size > limit {
        return refused(format!("{size} bytes, at most {limit} are taken"));
    }
    let namespace = id.repo.namespace.clone();
    if xet || is_here(&call.hub, &namespace, sha256, *size)? {
        return Ok((json!({ "oid": oid, "size": size }), false));
    }
    let token = call.who.token().map_or(String::new(), |token| token.sha256().to_owned());
    let claim = Claim { token, namespace, oid: oid.clone(), size: *size, upload: None, part: None };
    let base = call.base();
    let url = |claim: &Claim| format!("{base}/lfs/{}", call.hub.key.sign("lfs", claim, GOOD));
    let shown = format!("{}{}", id.kind.folder(), id.shown());
    let verify =
        json!({ "href": format!("{base}/{shown}.git/info/lfs/objects/verify"), "header": {} });
    let parts = multipart && *size > ONE_PART;
    let upload = if parts {
        let part = PART.max(size.div_ceil(PARTS));
        // A second try goes on with the first one.
        let upload = format!("{} {} {oid} {size}", claim.token, claim.namespace);
        let upload = Digest::of(upload.as_bytes()).to_string();
        let claim = Claim { upload: Some(upload), ..claim };
        let mut header = Map::new();
        header.insert("chunk_size".into(), part.to_string().into());
        for number in 1..=size.div_ceil(part) {
            let claim = Claim { part: Some((number, part)), ..claim.clone() };
            header.insert(number.to_string(), url(&claim).into());
        }
        json!({ "href": url(&claim), "header": header })
    } else {
        json!({ "href": url(&claim), "header": {} })
    };
    let actions = json!({ "upload": upload, "verify": verify });
    let object = json!({ "oid": oid, "size": size, "authenticated": true, "actions": actions });
    Ok((object, parts))
}

/// Whether a file is stored whole, so that nobody needs to send it.
fn is_here(hub: &Hub, namespace: &str, sha256: Digest, size: u64) -> Answer<bool> {
    if hub.check_damage(namespace, sha256).is_err() {
        return Ok(false);
    }
    let there = hub.store.find_file(namespace, sha256)?;
    Ok(there.is_some_and(|there| there.size == size))
}

/// Answers what is asked about objects.
pub(crate) async fn answer(call: Arc<Call>, id: RepoId, what: &str, body: Body) -> Answer {
    match (&call.method, what) {
        (&Method::POST, "batch") => batch(call, id, body).await,
        (&Method::POST, "verify") => {
            let body = read(&call, body, SHORT).await?;
            blocking(move || {
                call.who.write(&call.hub, &id)?;
                let Object { oid, size } = parse(&body)?;
                let sha256 = oid.parse().map_err(|_| Problem::bad("no SHA-256"))?;
                match call.hub.store.find_file(&id.repo.namespace, sha256)? {
                    Some(there) if there.size == size => Ok(respond(&json!({}))),
                    _ => Err(Problem::no_entry(&oid)),
                }
            })
            .await
        }
        _ => Err(Problem::no_route()),
    }
}

/// Takes an upload, or a part of one, or completes one of many parts.
pub(crate) async fn upload(call: Arc<Call>, claim: String, body: Body) -> Answer {
    let asked = Arc::clone(&call);
    let claim = blocking(move || {
        let hub = &asked.hub;
        let claim: Option<Claim> = hub.key.check("lfs", &claim);
        let claim = claim.ok_or_else(|| Problem::forbidden("The address is not good any more"))?;
        let token = hub.tokens.find_hash(&claim.token)?;
        let good = |token: &crate::token::Token| {
            token.role >= Role::Write && token.covers(&claim.namespace)
        };
        let token = token.filter(|token| good(token)).ok_or_else(Problem::unknown_token)?;
        hub.requests.count(&token.id)?;
        Ok(claim)
    })
    .await;
    let claim = call.known(claim)?;
    match (&call.method, &claim.upload, claim.part) {
        (&Method::PUT, None, None) => {
            let body = spool(&call, body, claim.size).await?;
            store(&call, claim, body).await?;
            Ok(text(StatusCode::OK, ""))
        }
        (&Method::PUT, Some(upload), Some((number, len))) => {
            let expected = len.min(claim.size.saturating_sub((number - 1).saturating_mul(len)));
            let body = spool(&call, body, expected).await?;
            if body.len != expected {
                return Err(Problem::bad(format!("The part has to have {expected} bytes")));
            }
            let key = part_key(&claim.namespace, upload, number);
            let slots = Arc::clone(&call.hub.decoding);
            worked(&slots, move || {
                check_staged(&call, &claim.namespace, "parts", body.len)?;
                let mut upload = call.hub.store.objects().upload(&key)?;
                copy(&mut body.file.reopen()?, &mut upload)?;
                upload.finish()?;
                let mut response = Response::new(Body::empty());
                let etag = header_value(&format!("\"{}\"", body.sha256));
                response.headers_mut().insert(ETAG, etag);
                Ok(response)
            })
            .await
        }
        (&Method::POST, Some(upload), None) => {
            let upload = upload.clone();
            drop(read(&call, body, SHORT).await?);
            complete(&call, claim, upload).await
        }
        _ => Err(Problem::no_route()),
    }
}

fn part_key(namespace: &str, upload: &str, number: u64) -> String {
    format!("xet/{namespace}/parts/{upload}/{number:05}")
}

/// Puts the parts of an upload together.
async fn complete(call: &Arc<Call>, claim: Claim, upload: String) -> Answer {
    let hub = Arc::clone(&call.hub);
    let (namespace, size) = (claim.namespace.clone(), claim.size);
    // A completion that is sent again after a lost answer is one that is done.
    let (asked, of) = (Arc::clone(&call.hub), claim.clone());
    let done = blocking(move || {
        let sha256 = of.oid.parse().map_err(|_| Problem::bad("no SHA-256"))?;
        is_here(&asked, &of.namespace, sha256, of.size)
    });
    if done.await? {
        return Ok(respond(&json!({ "completed": true })));
    }
    let part = PART.max(size.div_ceil(PARTS));
    let keys: Vec<_> =
        (1..=size.div_ceil(part)).map(|number| part_key(&namespace, &upload, number)).collect();
    let (parts, quota) = (keys.clone(), Quota::take(&hub, size)?);
    let staged = worked(&call.hub.decoding, move || {
        let mut file = NamedTempFile::new_in(hub.staging.path())?;
        let (mut hasher, mut len) = (Sha256::new(), 0);
        let objects = hub.store.objects();
        for (number, key) in (1..).zip(&parts) {
            let missing = || Problem::bad(format!("Part {number} is missing"));
            let part = objects.head(key)?.ok_or_else(missing)?;
            let source = RemoteFile::known(Arc::clone(objects), key, part.len);
            let mut at = 0;
            while at < part.len {
                let to = part.len.min(at + PIECE);
                let bytes = source.read_at(at..to)?;
                hasher.update(&bytes);
                file.write_all(&bytes)?;
                at = to;
            }
            len += part.len;
        }
        Ok(Spooled::new(file, len, Digest(hasher.finalize().into()), quota))
    })
    .await?;
    store(call, claim, staged).await?;
    let hub = Arc::clone(&call.hub);
    blocking(move || Ok(hub.store.objects().delete(&keys)?)).await?;
    Ok(respond(&json!({ "completed": true })))
}

/// Checks an uploaded file, and stores it.
async fn store(call: &Arc<Call>, claim: Claim, body: Spooled) -> Answer<()> {
    if body.len != claim.size || body.sha256.to_string() != claim.oid {
        return Err(Problem::bad("The file is not what its SHA-256 and its size say"));
    }
    let (hub, token) = (Arc::clone(&call.hub), claim.token.clone());
    let work = move || keep(&hub, &claim.namespace, body.sha256, body.file.path(), &()).map(drop);
    call.hub.packing.worked(&token, work).await
}
