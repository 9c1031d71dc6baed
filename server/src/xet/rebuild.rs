//! Rebuilding: the files of a shard, from xorbs that were sent now or before.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use at1w_container::{Digest, Progress};
use at1w_registry::{Error as StoreError, File as Stored};
use axum::body::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::hash::Hash;
use super::places::{self, Places};
use super::shard::{File, Term};
use super::xorb::{self, Chunk, key as xorb_key};
use crate::body::Quota;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::keep::keep;

/// The number of xorbs that are in memory at a time.
const IN_MEMORY: usize = 2;

/// The number of bytes that are read at a time.
const PIECE: u64 = 4 << 20;

/// The largest number of files of a shard. Clients commit 256 at a time.
const FILES: usize = 20_000;

/// The largest number of bytes of all files of a shard, as a multiple of the largest file.
const LARGEST_FILES: u64 = 4;

/// The fewest bytes that chunks have on average, but for some.
const LEAST_CHUNK: u64 = 4 << 10;
const SMALL_CHUNKS: u64 = 100_000;

/// The number of times that the bytes of all files and xorbs may be loaded.
const LOADS: u64 = 4;

/// A xorb as it was sent, or where its chunks came to lie.
enum Xorb {
    Sent { bytes: Bytes, chunks: Vec<Chunk> },
    Placed(Places),
}

/// Rebuilds the files of a shard, and stores them.
pub(crate) struct Rebuild<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) namespace: &'a str,
    pub(crate) progress: &'a dyn Progress,
    /// The xorbs that were used last.
    xorbs: Vec<(Hash, Arc<Xorb>)>,
    /// The places of the chunks of xorbs that are stored as they were sent.
    places: HashMap<Hash, Places>,
    /// The files that chunks lie in.
    files: HashMap<Digest, Option<Stored>>,
    /// The number of bytes of xorbs that were loaded, and that may be.
    loaded: (u64, u64),
}

impl<'a> Rebuild<'a> {
    pub(crate) fn new(hub: &'a Hub, namespace: &'a str, progress: &'a dyn Progress) -> Self {
        let (xorbs, places, files) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { hub, namespace, progress, xorbs, places, files, loaded: (0, 0) }
    }

    /// Rebuilds and stores all files.
    pub(crate) fn all(&mut self, files: &[File]) -> Answer<()> {
        let limit = self.hub.config.limits.largest();
        // Before anything is decoded: a shard of a few bytes can claim any number of them.
        if let Some(file) = files.iter().find(|file| file.len > limit) {
            let message =
                format!("{} has {} bytes, at most {limit} are taken", file.sha256, file.len);
            return Err(Problem::too_large(message));
        }
        let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.len));
        let terms = files.iter().flat_map(|file| &file.terms);
        let chunks: u64 = terms.map(|term| u64::from(term.end - term.first)).sum();
        if files.len() > FILES || total > limit.saturating_mul(LARGEST_FILES) {
            let message = format!("{} files of {total} bytes are too many at a time", files.len());
            return Err(Problem::too_large(message));
        }
        if chunks > total / LEAST_CHUNK + SMALL_CHUNKS {
            return Err(Problem::too_large("The files are made of too many small chunks"));
        }
        self.loaded.1 = total.saturating_mul(LOADS);
        for file in files {
            self.file(file)?;
        }
        self.settle()
    }

    fn file(&mut self, file: &File) -> Answer<()> {
        let _quota = Quota::take(self.hub, file.len)?;
        let staged = NamedTempFile::new_in(self.hub.staging.path())?;
        let mut out = Hashing {
            hasher: Sha256::new(),
            out: BufWriter::with_capacity(256 << 10, staged.reopen()?),
        };
        for term in &file.terms {
            if self.progress.cancelled() {
                return Err(Problem::busy("The client is gone"));
            }
            self.term(term, &mut out)?;
            self.progress.advance(term.len.into());
        }
        out.flush()?;
        let sha256 = Digest(out.hasher.finalize().into());
        if sha256 != file.sha256 {
            let message = format!("A file has the SHA-256 {sha256}, not {}", file.sha256);
            return Err(Problem::bad(message));
        }
        let kept = keep(self.hub, self.namespace, sha256, staged.path(), self.progress)?;
        self.files.insert(sha256, Some(kept));
        let mut offset = 0;
        for term in &file.terms {
            if let Some(places) = self.places.get_mut(&term.xorb) {
                places.add(term.first, term.end, sha256, offset);
            }
            offset += u64::from(term.len);
        }
        Ok(())
    }

    /// Writes the raw bytes of a term.
    fn term(&mut self, term: &Term, out: &mut impl Write) -> Answer<()> {
        let wrong = |problem: &str| Problem::bad(format!("Xorb {}: {problem}", term.xorb.text()));
        match &*self.xorb(term.xorb)? {
            Xorb::Sent { bytes, chunks } => {
                let chunks = chunks.get(term.first as usize..term.end as usize);
                let chunks = chunks.ok_or_else(|| wrong("a file names chunks that it lacks"))?;
                let len: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
                if len != u64::from(term.len) {
                    return Err(wrong("the chunks of a file have another length"));
                }
                for chunk in chunks {
                    let raw = xorb::decode(bytes, chunk).map_err(|problem| wrong(&problem))?;
                    out.write_all(&raw)?;
                }
            }
            Xorb::Placed(places) => {
                let lost = || wrong("it is not here any more: send it again");
                let damaged = |error: StoreError| match error.is_integrity() {
                    true => places::forget(self.hub, self.namespace, term.xorb)
                        .map_or_else(|problem| problem, |()| lost()),
                    false => error.into(),
                };
                let pieces = places.find(term.first, term.end).ok_or_else(lost)?;
                if pieces.iter().map(|piece| piece.len).sum::<u64>() != u64::from(term.len) {
                    return Err(wrong("the chunks of a file have another length"));
                }
                for piece in pieces {
                    let file = stored(self.hub, self.namespace, &mut self.files, piece.file)?;
                    let file = file.ok_or_else(lost)?;
                    let original = self.hub.original(self.namespace, &file)?;
                    let (mut at, end) = (piece.offset, piece.offset.saturating_add(piece.len));
                    while at < end {
                        let to = end.min(at + PIECE);
                        out.write_all(&original.read(at..to).map_err(damaged)?)?;
                        at = to;
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds a xorb of the namespace.
    fn xorb(&mut self, hash: Hash) -> Answer<Arc<Xorb>> {
        if let Some((_, xorb)) = self.xorbs.iter().find(|(known, _)| *known == hash) {
            return Ok(Arc::clone(xorb));
        }
        let problem = |what: String| Problem::bad(format!("Xorb {}: {what}", hash.text()));
        let xorb = match self.hub.store.objects().get(&xorb_key(self.namespace, hash))? {
            Some(bytes) => {
                let len = bytes.len() as u64;
                self.loaded.0 = self.loaded.0.saturating_add(len);
                if !self.places.contains_key(&hash) {
                    self.loaded.1 = self.loaded.1.saturating_add(len * LOADS);
                }
                if self.loaded.0 > self.loaded.1 {
                    return Err(Problem::too_large("The files jump between xorbs too often"));
                }
                let chunks = xorb::chunks(&bytes).map_err(problem)?;
                let lens = chunks.iter().map(|chunk| chunk.len).collect();
                self.places.entry(hash).or_insert_with(|| Places::new(lens));
                Xorb::Sent { bytes, chunks }
            }
            None => {
                let mut lives = lives(self.hub, self.namespace, &mut self.files);
                match places::read(self.hub, self.namespace, hash, &mut lives)?.0 {
                    Some(places) => Xorb::Placed(places),
                    None => return Err(problem("it was not sent".into())),
                }
            }
        };
        if self.xorbs.len() >= IN_MEMORY {
            self.xorbs.remove(0);
        }
        let xorb = Arc::new(xorb);
        self.xorbs.push((hash, Arc::clone(&xorb)));
        Ok(xorb)
    }

    /// Writes down where chunks came to lie, and removes the xorbs whose chunks all lie elsewhere.
    fn settle(&mut self) -> Answer<()> {
        for (hash, places) in &self.places {
            let mut lives = lives(self.hub, self.namespace, &mut self.files);
            if places::write(self.hub, self.namespace, *hash, places, &mut lives)? {
                let key = xorb_key(self.namespace, *hash);
                self.hub.store.objects().delete(&[key])?;
            }
        }
        Ok(())
    }
}

/// Returns the facts about a file that is stored; a damaged one is none.
fn stored(
    hub: &Hub,
    namespace: &str,
    known: &mut HashMap<Digest, Option<Stored>>,
    sha256: Digest,
) -> Answer<Option<Stored>> {
    if let Some(found) = known.get(&sha256) {
        return Ok(found.clone());
    }
    let found = hub.store.find_file(namespace, sha256)?;
    known.insert(sha256, found.clone());
    Ok(found)
}

/// Returns what tells whether a file is stored.
fn lives<'a>(
    hub: &'a Hub,
    namespace: &'a str,
    known: &'a mut HashMap<Digest, Option<Stored>>,
) -> impl FnMut(Digest) -> Answer<bool> + 'a {
    move |sha256| Ok(stored(hub, namespace, known, sha256)?.is_some())
}

struct Hashing<W> {
    hasher: Sha256,
    out: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
