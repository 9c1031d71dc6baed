//! Turning tensors in memory into those of a version: the weights of a model that runs follow one
//! that is trained.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use at1w_codec::Predictor;

use super::buffer::check_len;
use super::decode::{self, Job};
use super::index::Entry;
use super::plan::{Ground, Plan};
use super::reader::Reader;
use super::stored::Stored;
use crate::digest::{Chain, Digest};
use crate::error::{Error, Result};
use crate::progress::{Progress, report};
use crate::source::ReadAt;

/// The outcome of [`Reader::update`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Updated<'n> {
    /// The names of the tensors that are now those of the file, in the order in which they were
    /// given.
    pub names: Vec<&'n str>,
    /// Why the next one was not changed; all after it are as they were.
    pub failed: Option<Error>,
    /// The root of the file, if all of its tensors are now in memory.
    pub root: Option<Digest>,
}

impl Reader {
    /// Turns tensors in memory, which are the bases of those of this file, into those of this file.
    /// Each is proven by its SHA-256 before a byte of it changes, so it is wholly the old or wholly
    /// the new one, whatever happens. Tensors that are those of the file already stay: an update
    /// that failed can be repeated. No file of a base is needed.
    ///
    /// # Errors
    /// [`Updated::failed`] has [`Error::NoTensor`], [`Error::Buffer`], [`Error::WrongBase`] for
    /// memory that is neither the base nor the tensor of the file, [`Error::DamagedTensor`],
    /// [`Error::Read`] and [`Error::Cancelled`].
    pub fn update<'n>(
        &self,
        tensors: &mut [(&'n str, &mut [u8])],
        progress: &dyn Progress,
    ) -> Updated<'n> {
        let mut updated = Updated { names: Vec::new(), failed: None, root: None };
        // One for all tensors: new memory costs as much time as decoding.
        let mut scratch = Vec::new();
        for (name, memory) in tensors.iter_mut() {
            if let Err(error) = self.update_one(name, memory, &mut scratch, progress) {
                updated.failed = Some(error);
                return updated;
            }
            updated.names.push(name);
        }
        let has = |name: &str| updated.names.contains(&name);
        if self.len() <= updated.names.len() && self.tensors().all(|tensor| has(tensor.name())) {
            updated.root = Some(self.root());
        }
        updated
    }

    fn update_one(
        &self,
        name: &str,
        memory: &mut [u8],
        scratch: &mut Vec<u8>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let tensor = self.tensor(name)?;
        let stored = tensor.stored;
        check_len(memory, stored.raw_len())?;
        if stored.entry.is_same() {
            // The SHA-256 on record is proven by the states of a chunk table, which it has not.
            let proven = content_digest(stored, memory) == stored.entry.content_digest;
            report(progress, memory.len() as u64)?;
            return if proven { Ok(()) } else { Err(self.neither(name)) };
        }
        // The new tensor is made beside the old one, and takes its place when it is proven.
        scratch.resize(scratch.len().max(memory.len()), 0);
        let new = &mut scratch[..memory.len()];
        match self.decode_on(stored, memory, new, progress) {
            Ok(()) => memory.copy_from_slice(new),
            Err(error) if stored.entry.base.is_none() || !error.is_integrity() => {
                return Err(error);
            }
            // An earlier update may have come this far. Only now this is worth a look.
            Err(error) => {
                let found = content_digest(stored, memory);
                if found == stored.entry.content_digest {
                    return Ok(());
                }
                let (_, base) = stored.entry.base.expect("looked at above");
                let is_base = base.digest == Some(found);
                return Err(if is_base { error } else { self.neither(name) });
            }
        }
        Ok(())
    }

    /// Decodes a tensor whose base is in memory.
    fn decode_on(
        &self,
        stored: Stored<'_>,
        memory: &[u8],
        new: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        let source = Memory(memory);
        let plan = match stored.entry.base {
            None => Plan::read(stored)?,
            Some((_, base)) if base.predictor == Predictor::Identity => {
                let entry =
                    Entry { start: 0, end: memory.len() as u64, base: None, ..stored.entry };
                let base = Stored { source: &source, entry, plain: Some(&[]), ..stored };
                let predictor = Predictor::Identity;
                Plan::read_on(stored, Ground { plan: Plan::read(base)?, predictor })?
            }
            Some(_) => {
                let problem = "it is a rounding of another dtype, which memory does not have";
                return Err(self.unfit(stored.info.name(), problem));
            }
        };
        let mut jobs = Vec::new();
        let mut rest = new;
        for chunk in 0..stored.chunk_count() {
            let (out, after) = rest.split_at_mut(plan.chunk_len(chunk));
            jobs.push(Job { plan: &plan, chunk, out });
            rest = after;
        }
        decode::all(&mut jobs, progress)
    }

    fn neither(&self, name: &str) -> Error {
        self.unfit(name, "it is neither the base nor the tensor of the file")
    }

    fn unfit(&self, name: &str, problem: &str) -> Error {
        Error::WrongBase { tensor: name.into(), base: "memory".into(), problem: problem.into() }
    }
}

/// A tensor in memory, as the source of a base.
struct Memory<'a>(&'a [u8]);

impl ReadAt for Memory<'_> {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.0.read_at(range)
    }
}

/// Returns the content digest of bytes that have the chunks of a tensor.
fn content_digest(stored: Stored<'_>, memory: &[u8]) -> Digest {
    let chunking = stored.chunking();
    let (mut chain, mut states) = (Chain::new(stored.backend), Vec::new());
    for chunk in 0..chunking.count() {
        let Range { start, end } = chunking.range(chunk);
        chain.update(&memory[start as usize..end as usize]);
        if chunk + 1 < chunking.count() {
            states.extend(chain.state().to_bytes());
        }
    }
    crate::format::root::content_digest(&states, chain.finish())
}
