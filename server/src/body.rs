//! Reading bodies: into memory while they are short, onto the staging disk otherwise, with limits
//! of size and time.

use std::io::{Seek, Write};
use std::ops::Deref;
use std::path::Path;
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
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::call::{Call, blocking};
use crate::error::{Answer, Problem};
use crate::hub::Hub;

/// The largest body that is read into memory, in bytes.
pub(crate) const SHORT: u64 = 8 << 20;

/// The largest one of a caller without a token.
const STRANGERS: u64 = 256 << 10;

/// The number of bytes of a body that are written at a time.
const PIECE: usize = 256 << 10;

/// The unit that memory for bodies is counted in, in bytes.
const UNIT: usize = 4 << 10;

/// A share of the memory for bodies, which is given back when it is dropped.
pub(crate) struct Share {
    hub: Arc<Hub>,
    permits: Option<OwnedSemaphorePermit>,
}

impl Share {
    fn none(hub: &Arc<Hub>) -> Self {
        Self { hub: Arc::clone(hub), permits: None }
    }

    /// Waits for a share. Who waits holds none.
    pub(crate) async fn wait(hub: &Arc<Hub>, len: u64) -> Answer<Self> {
        let units = (len as usize).div_ceil(UNIT) as u32;
        let permits = Arc::clone(&hub.memory).acquire_many_owned(units).await;
        Ok(Self { hub: Arc::clone(hub), permits: Some(permits.map_err(Problem::internal)?) })
    }

    /// Has the share be one for `len` bytes, if there is memory.
    fn grow(&mut self, len: usize) -> Answer<()> {
        let held = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = len.div_ceil(UNIT).saturating_sub(held) as u32;
        if more == 0 {
            return Ok(());
        }
        let Ok(permits) = Arc::clone(&self.hub.memory).try_acquire_many_owned(more) else {
            return Err(Problem::busy("Too many requests at the same time: try again"));
        };
        match &mut self.permits {
            Some(held) => held.merge(permits),
            none => *none = Some(permits),
        }
        Ok(())
    }
}

/// Returns the number of units of memory that a limit in bytes allows. The largest body that waits
/// for memory fits in any case.
pub(crate) fn units(limit: u64) -> usize {
    (limit as usize).max(2 * crate::xet::LARGEST as usize).div_ceil(UNIT)
}

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
    let (mut bytes, mut share) = (Vec::new(), Share::none(&call.hub));
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

/// What of a body is on the staging disk.
struct Written {
    file: NamedTempFile,
    hasher: Sha256,
}

impl Written {
    fn new(folder: &Path) -> Answer<Self> {
        Ok(Self { file: NamedTempFile::new_in(folder)?, hasher: Sha256::new() })
    }

    /// Writes the next piece. No thread waits for a client meanwhile.
    async fn write(mut self, piece: Vec<u8>) -> Answer<Self> {
        blocking(move || {
            self.hasher.update(&piece);
            self.file.write_all(&piece)?;
            Ok(self)
        })
        .await
    }
}

/// Writes a body of at most `limit` bytes to the staging disk.
pub(crate) async fn spool(call: &Arc<Call>, body: Body, limit: u64) -> Answer<Spooled> {
    let claim = check_claim(call, limit)?;
    let hub = Arc::clone(&call.hub);
    let mut quota = Quota::take(&hub, claim.unwrap_or(0))?;
    let mut written = blocking(move || Written::new(hub.staging.path())).await?;
    let mut stream = body.into_data_stream();
    let (mut waiting, mut len) = (Vec::new(), 0_u64);
    while let Some(piece) = next(&mut stream, idle(call)).await? {
        len += piece.len() as u64;
        if len > limit {
            return Err(Problem::too_large(format!("The body has more than {limit} bytes")));
        }
        if claim.is_none() {
            quota.grow(piece.len() as u64, call.hub.config.limits.staging)?;
        }
        waiting.extend_from_slice(&piece);
        if waiting.len() >= PIECE {
            written = written.write(std::mem::take(&mut waiting)).await?;
        }
    }
    let Written { mut file, hasher } = written.write(waiting).await?;
    file.rewind()?;
    Ok(Spooled::new(file, len, Digest(hasher.finalize().into()), quota))
}
