//! Reading bodies: into memory while they are short, onto the staging disk otherwise, with limits
//! of size and time.

use std::io::{Seek, Write};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use at1w_container::Digest;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::time::Instant;

use crate::call::{Call, blocking};
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::memory::Share;

/// The largest body that is read into memory, in bytes.
pub(crate) const SHORT: u64 = 8 << 20;

/// The largest one of a caller without a token.
const STRANGERS: u64 = 256 << 10;

/// The number of bytes of a body that are written at a time.
const PIECE: usize = 256 << 10;

/// A body in memory.
pub(crate) struct InMemory {
    bytes: Vec<u8>,
    _share: Share,
}

impl Deref for InMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body on the staging disk, which is removed when it is dropped.
pub(crate) struct Spooled {
    pub(crate) file: NamedTempFile,
    pub(crate) len: u64,
    pub(crate) sha256: Digest,
    _quota: Quota,
}

impl Spooled {
    pub(crate) fn new(file: NamedTempFile, len: u64, sha256: Digest, quota: Quota) -> Self {
        Self { file, len, sha256, _quota: quota }
    }
}

/// A share of the staging disk, which is given back when it is dropped.
pub(crate) struct Quota {
    staged: Arc<AtomicU64>,
    len: u64,
}

impl Quota {
    /// Takes a share.
    pub(crate) fn take(hub: &Hub, len: u64) -> Answer<Self> {
        let mut quota = Self { staged: Arc::clone(&hub.staged), len: 0 };
        quota.grow(len, hub.config.limits.staging)?;
        Ok(quota)
    }

    fn grow(&mut self, len: u64, limit: u64) -> Answer<()> {
        let before = self.staged.fetch_add(len, Ordering::Relaxed);
        self.len += len;
        if before.saturating_add(len) > limit {
            return Err(Problem::busy("Too many uploads at the same time: try again"));
        }
        Ok(())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.staged.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// Checks the length that a request claims.
fn check_claim(call: &Call, limit: u64) -> Answer<Option<u64>> {
    let Some(claim) = call.headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let claim = claim.to_str().ok().and_then(|claim| claim.parse::<u64>().ok());
    let claim = claim.ok_or_else(|| Problem::bad("Content-Length is no number"))?;
    if claim > limit {
        return Err(Problem::too_large(format!("The body has more than {limit} bytes")));
    }
    Ok(Some(claim))
}

/// Returns the next piece of a body.
async fn next(stream: &mut axum::body::BodyDataStream, idle: Duration) -> Answer<Option<Bytes>> {
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "The body came too slowly");
    match tokio::time::timeout(idle, stream.next()).await.map_err(|_| late())? {
        None => Ok(None),
        Some(Ok(piece)) => Ok(Some(piece)),
        Some(Err(error)) => Err(Problem::bad(format!("The body ended early: {error}"))),
    }
}

fn idle(call: &Call) -> Duration {
    Duration::from_secs(call.hub.config.limits.idle_time.max(1))
}

/// Reads a body of at most `limit` bytes into memory.
pub(crate) async fn read(call: &Call, body: Body, limit: u64) -> Answer<InMemory> {
    let limit = if call.who.token().is_some() { limit } else { limit.min(STRANGERS) };
    check_claim(call, limit)?;
    let mut stream = body.into_data_stream();
    let (mut bytes, mut share) = (Vec::new(), call.hub.memory.none());
    // A body that comes byte by byte would hold its memory for hours.
    let until = Instant::now() + 2 * idle(call);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Some(piece) = next(&mut stream, idle(call).min(left)).await? else { break };
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(Problem::too_large(format!("The body has more than {limit} bytes")));
        }
        share.grow(bytes.len() + piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(InMemory { bytes, _share: share })
}

/// A file on the staging disk that is being written.
pub(crate) struct Writing {
    file: NamedTempFile,
    hasher: Sha256,
    /// The hash by which git names the file, where that is wanted.
    git: Option<Sha1>,
    /// The bytes that are to be written next.
    waiting: Vec<u8>,
}

impl Writing {
    /// Begins a file. `git` is its length, where its name in git is wanted.
    pub(crate) async fn begin(hub: &Arc<Hub>, git: Option<u64>) -> Answer<Self> {
        let hub = Arc::clone(hub);
        blocking(move || {
            let file = NamedTempFile::new_in(hub.staging.path())?;
            let git = git.map(|len| Sha1::new_with_prefix(format!("blob {len}\0")));
            Ok(Self { file, hasher: Sha256::new(), git, waiting: Vec::new() })
        })
        .await
    }

    /// Adds bytes. No thread waits for a client meanwhile.
    pub(crate) async fn add(mut self, piece: &[u8]) -> Answer<Self> {
        self.waiting.extend_from_slice(piece);
        if self.waiting.len() < PIECE { Ok(self) } else { self.write().await }
    }

    async fn write(mut self) -> Answer<Self> {
        blocking(move || {
            let piece = std::mem::take(&mut self.waiting);
            self.hasher.update(&piece);
            if let Some(git) = &mut self.git {
                git.update(&piece);
            }
            self.file.write_all(&piece)?;
            Ok(self)
        })
        .await
    }

    /// Ends the file; returns its SHA-256, and its name in git where that is wanted.
    pub(crate) async fn end(self) -> Answer<(NamedTempFile, Digest, Option<String>)> {
        let Self { mut file, hasher, git, .. } = self.write().await?;
        file.rewind()?;
        let hexadecimal = |byte: u8| format!("{byte:02x}");
        let git = git.map(|git| git.finalize().into_iter().map(hexadecimal).collect());
        Ok((file, Digest(hasher.finalize().into()), git))
    }
}

/// Writes a body of at most `limit` bytes to the staging disk.
pub(crate) async fn spool(call: &Arc<Call>, body: Body, limit: u64) -> Answer<Spooled> {
    let claim = check_claim(call, limit)?;
    let mut quota = Quota::take(&call.hub, claim.unwrap_or(0))?;
    let mut writing = Writing::begin(&call.hub, None).await?;
    let mut stream = body.into_data_stream();
    let mut len = 0_u64;
    while let Some(piece) = next(&mut stream, idle(call)).await? {
        len += piece.len() as u64;
        if len > limit {
            return Err(Problem::too_large(format!("The body has more than {limit} bytes")));
        }
        if claim.is_none() {
            quota.grow(piece.len() as u64, call.hub.config.limits.staging)?;
        }
        writing = writing.add(&piece).await?;
    }
    let (file, sha256, _) = writing.end().await?;
    Ok(Spooled::new(file, len, sha256, quota))
}
