//! Uploads by Xet, which is how clients upload by default: a token, xorbs of chunks, and shards
//! that tell how files are made of them.

mod hash;
mod places;
mod rebuild;
mod shard;
mod xorb;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use at1w_container::Progress;
use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

use self::hash::Hash;
use self::rebuild::Rebuild;
pub(crate) use self::xorb::LARGEST;
use self::xorb::key as xorb_key;
use crate::access::bearer;
use crate::address::RepoId;
use crate::body::{Spooled, spool};
use crate::call::{Call, blocking, json as respond, worked};
use crate::error::{Answer, Problem, header_value};
use crate::token::{Role, now};

/// How long a token of the protocol is good, in seconds. It ends with the one that it was given
/// for.
const GOOD: u64 = 3600;

/// How often a client is told how far its files are.
const TICK: Duration = Duration::from_millis(500);

/// The number of ticks without news after which it is told all the same.
const QUIET: u32 = 20;

/// What a token of the protocol allows: to write to a namespace.
#[derive(Serialize, Deserialize)]
struct Scope {
    /// The SHA-256 of the token that it was given for.
    token: String,
    namespace: String,
}

/// Parses the bytes of a xorb and a shard as uploads do, for fuzzing.
pub fn parse(xorb: &[u8], shard: &[u8], line: &[u8]) {
    let _ = xorb::hash(xorb);
    let _ = shard::parse(shard);
    let _ = crate::commit::parse_line(line);
}

/// Gives out a token for uploads to a repository.
pub(crate) fn write_token(call: &Call, id: &RepoId) -> Answer {
    call.who.write(&call.hub, id)?;
    let token = call.who.token().ok_or_else(Problem::needs_token)?;
    let scope = Scope { token: token.sha256().into(), namespace: id.repo.namespace.clone() };
    let access = call.hub.key.sign("xet", &scope, GOOD);
    let (until, cas) = (now() + GOOD, format!("{}/cas", call.base()));
    let body = json!({ "accessToken": access, "exp": until, "casUrl": cas });
    let mut response = respond(&body);
    let headers = response.headers_mut();
    headers.insert("x-xet-access-token", header_value(&access));
    headers.insert("x-xet-token-expiration", until.into());
    headers.insert("x-xet-cas-url", header_value(&cas));
    Ok(response)
}

/// Checks the token of a request; returns what it allows.
fn scope(call: &Call) -> Answer<Scope> {
    let header = call.header(AUTHORIZATION.as_str()).ok_or_else(Problem::needs_token)?;
    let scope = bearer(header).and_then(|text| call.hub.key.check::<Scope>("xet", text));
    let scope = scope.ok_or_else(Problem::unknown_token)?;
    let token = call.hub.tokens.find_hash(&scope.token)?.ok_or_else(Problem::unknown_token)?;
    if token.role < Role::Write || !token.covers(&scope.namespace) {
        return Err(Problem::forbidden("This token may not write here"));
    }
    call.hub.requests.count(&token.id)?;
    Ok(scope)
}

/// Answers what the protocol asks for.
pub(crate) async fn answer(call: Arc<Call>, segments: &[&str], body: Body) -> Answer {
    let asked = Arc::clone(&call);
    let scope = call.known(blocking(move || scope(&asked)).await)?;
    match (&call.method, segments) {
        (&Method::POST, ["v1", "xorbs", "default", hash]) => {
            let hash = Hash::parse(hash).ok_or_else(|| Problem::bad("No hash of a xorb"))?;
            take_xorb(call, scope.namespace, hash, body).await
        }
        (&Method::POST, [version @ ("v1" | "v2"), "shards"]) => {
            let stream = *version == "v2";
            take_shard(call, scope, stream, body).await
        }
        // Which chunks others have sent is nobody's business.
        _ => Err(Problem::no_route()),
    }
}

/// Takes a xorb, of which every chunk is checked.
async fn take_xorb(call: Arc<Call>, namespace: String, hash: Hash, body: Body) -> Answer {
    let body = spool(&call, body, LARGEST).await?;
    let share = call.hub.memory.wait(body.len).await?;
    // What is checked waits for a place beside downloads; what is stored waits for the store alone.
    let bytes = worked(&call.hub.decoding, move || {
        let mut bytes = Vec::with_capacity(body.len as usize);
        body.file.reopen()?.read_to_end(&mut bytes)?;
        let actual =
            xorb::hash(&bytes).map_err(|problem| Problem::bad(format!("The xorb: {problem}")))?;
        if actual != hash {
            return Err(Problem::bad("The xorb is not the one that its address names"));
        }
        Ok(bytes)
    })
    .await?;
    blocking(move || {
        let _share = share;
        let objects = call.hub.store.objects();
        let key = xorb_key(&namespace, hash);
        if objects.head(&key)?.is_some() {
            return Ok(respond(&json!({ "was_inserted": false })));
        }
        check_staged(&call, &namespace, "xorbs", bytes.len() as u64)?;
        objects.put(&key, bytes)?;
        Ok(respond(&json!({ "was_inserted": true })))
    })
    .await
}

/// Checks that a namespace has room for more of an upload that is not completed.
pub(crate) fn check_staged(call: &Call, namespace: &str, folder: &str, len: u64) -> Answer<()> {
    let staged = call.hub.store.objects().list(&format!("xet/{namespace}/{folder}"))?;
    let staged = staged.iter().fold(len, |sum, meta| sum.saturating_add(meta.len));
    if staged > call.hub.config.limits.staging {
        return Err(Problem::busy("Too many uploads to this namespace were not completed"));
    }
    Ok(())
}

/// Returns the files of a shard.
fn files_of(body: &Spooled) -> Answer<Vec<shard::File>> {
    let mut bytes = Vec::with_capacity(body.len as usize);
    body.file.reopen()?.read_to_end(&mut bytes)?;
    shard::parse(&bytes).map_err(|problem| Problem::bad(format!("The shard: {problem}")))
}

/// How far the files of a shard are.
#[derive(Default)]
struct Job {
    done: AtomicU64,
    /// Each byte is rebuilt once and packed once.
    total: AtomicU64,
    gone: AtomicBool,
}

impl Progress for Job {
    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// Takes a shard: its files are rebuilt, checked and packed before the answer ends.
async fn take_shard(call: Arc<Call>, scope: Scope, stream: bool, body: Body) -> Answer {
    let body = spool(&call, body, call.hub.config.limits.shard).await?;
    let hub = Arc::clone(&call.hub);
    // What makes no sense is refused at once; the rest waits on disk until its turn.
    let body = worked(&hub.decoding, move || files_of(&body).map(|_| body)).await?;
    let job = Arc::new(Job::default());
    let work = {
        let job = Arc::clone(&job);
        async move {
            let Scope { token, namespace } = scope;
            let shared = Arc::clone(&hub);
            let work = move || {
                let files = files_of(&body)?;
                let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.len));
                job.total.store(total.saturating_mul(2), Ordering::Relaxed);
                Rebuild::new(&hub, &namespace, &*job).all(&files)
            };
            shared.packing.worked(&token, work).await
        }
    };
    if !stream {
        work.await?;
        return Ok(respond(&json!({ "result": 1 })));
    }
    let (sender, receiver) = mpsc::channel::<Bytes>(4);
    tokio::spawn(report(call, job, work, sender));
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let frame = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(frame), receiver))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// Tells a client how far its files are, and in the end whether they are stored.
async fn report(
    call: Arc<Call>,
    job: Arc<Job>,
    work: impl Future<Output = Answer<()>>,
    sender: mpsc::Sender<Bytes>,
) {
    let frame = |value: serde_json::Value| Bytes::from(format!("{value}\n"));
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(TICK);
    let (mut told, mut quiet) = (u64::MAX, 0);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            _ = tick.tick() => {}
        }
        let total = job.total.load(Ordering::Relaxed);
        let done = job.done.load(Ordering::Relaxed).min(total);
        quiet += 1;
        if done != told || quiet >= QUIET {
            let value = json!({ "type": "validating", "verified": done, "total": total });
            // A client that does not listen for a while misses a frame.
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(frame(value)) {
                job.gone.store(true, Ordering::Relaxed);
            }
            (told, quiet) = (done, 0);
        }
    };
    let last = match outcome {
        Ok(()) => json!({ "type": "result" }),
        Err(problem) => {
            let retryable = problem.status.is_server_error();
            let cause = problem.cause();
            tracing::warn!(request = call.id, cause, "a shard failed: {}", problem.message());
            json!({ "type": "error", "message": problem.message(), "retryable": retryable })
        }
    };
    let _ = sender.send(frame(last)).await;
}
