//! Reading bodies: into memory while they are short, onto the staging disk otherwise, with limits
//! of size and time.

use std::io::{BufWriter, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use at1w_container::Digest;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use crate::call::{Call, blocking};
use crate::error::{Answer, Problem};
use crate::hub::Hub;

/// The largest body that is read into memory, in bytes.
pub(crate) const SHORT: u64 = 8 << 20;

/// The number of pieces of a body that wait to be written.
const WAITING: usize = 16;

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
pub(crate) async fn read(call: &Call, body: Body, limit: u64) -> Answer<Vec<u8>> {
    check_claim(call, limit)?;
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut stream, idle(call)).await? {
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(Problem::too_large(format!("The body has more than {limit} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Writes a body of at most `limit` bytes to the staging disk.
pub(crate) async fn spool(call: &Arc<Call>, body: Body, limit: u64) -> Answer<Spooled> {
    let claim = check_claim(call, limit)?;
    let hub = Arc::clone(&call.hub);
    let mut quota = Quota::take(&hub, claim.unwrap_or(0))?;
    let (send, mut receive) = mpsc::channel::<Bytes>(WAITING);
    let writer = blocking(move || {
        let mut file = NamedTempFile::new_in(&hub.staging)?;
        let mut hasher = Sha256::new();
        let mut out = BufWriter::with_capacity(256 << 10, &mut file);
        while let Some(piece) = receive.blocking_recv() {
            hasher.update(&piece);
            out.write_all(&piece)?;
        }
        out.flush()?;
        drop(out);
        file.rewind()?;
        Ok((file, Digest(hasher.finalize().into())))
    });
    let reader = async move {
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
            if send.send(piece).await.is_err() {
                // The writer has failed, and says why.
                break;
            }
        }
        Ok((len, quota))
    };
    let (read, written) = tokio::join!(reader, writer);
    let (file, sha256) = written?;
    let (len, quota) = read?;
    Ok(Spooled::new(file, len, sha256, quota))
}
