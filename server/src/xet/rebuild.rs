//! Rebuilding: the files of a shard, from xorbs that were sent now or before.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use at1w_container::{Digest, Progress};
use axum::body::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::hash::Hash;
use super::places::{self, Places};
use super::shard::{File, Term};
use super::xorb::{self, Chunk};
use super::xorb_key;
use crate::body::Quota;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::keep::keep;

/// The number of xorbs that are in memory at a time.
const IN_MEMORY: usize = 2;

/// The number of bytes that are read at a time.
const PIECE: u64 = 4 << 20;

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
}

impl<'a> Rebuild<'a> {
    pub(crate) fn new(hub: &'a Hub, namespace: &'a str, progress: &'a dyn Progress) -> Self {
        let (xorbs, places) = (Vec::new(), HashMap::new());
        Self { hub, namespace, progress, xorbs, places }
    }

    /// Rebuilds and stores all files.
    pub(crate) fn all(&mut self, files: &[File]) -> Answer<()> {
        let limit = self.hub.config.limits.file;
        // Before anything is decoded: a shard of a few bytes can claim any number of them.
        if let Some(file) = files.iter().find(|file| file.len > limit) {
            let message =
                format!("{} has {} bytes, at most {limit} are taken", file.sha256, file.len);
            return Err(Problem::too_large(message));
        }
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
        keep(self.hub, self.namespace, sha256, staged.path(), self.progress)?;
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
                let pieces = places.find(term.first, term.end).ok_or_else(lost)?;
                if pieces.iter().map(|piece| piece.len).sum::<u64>() != u64::from(term.len) {
                    return Err(wrong("the chunks of a file have another length"));
                }
                for piece in pieces {
                    let file = self.hub.store.find_file(self.namespace, piece.file)?;
                    let file = file.ok_or_else(lost)?;
                    let original = self.hub.original(self.namespace, &file)?;
                    let (mut at, end) = (piece.offset, piece.offset.saturating_add(piece.len));
                    while at < end {
                        let to = end.min(at + PIECE);
                        out.write_all(&original.read(at..to)?)?;
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
                let chunks = xorb::chunks(&bytes).map_err(problem)?;
                let lens = chunks.iter().map(|chunk| chunk.len).collect();
                self.places.entry(hash).or_insert_with(|| Places::new(lens));
                Xorb::Sent { bytes, chunks }
            }
            None => match places::read(self.hub, self.namespace, hash)? {
                Some(places) => Xorb::Placed(places),
                None => return Err(problem("it was not sent".into())),
            },
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
            places::write(self.hub, self.namespace, *hash, places)?;
            let all = places::read(self.hub, self.namespace, *hash)?;
            if all.is_some_and(|all| all.is_whole()) {
                let key = xorb_key(self.namespace, *hash);
                self.hub.store.objects().delete(&[key])?;
            }
        }
        Ok(())
    }
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
