//! Turning tensors in memory into those of a version: the weights of a model that runs follow one
//! that is trained.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::{io, mem};

use at1w_codec::Predictor;
use rayon::prelude::*;

use super::buffer::check_len;
use super::decode::{self, Job};
use super::index::Entry;
use super::plan::{Ground, Plan};
use super::reader::Reader;
use super::stored::Stored;
use crate::digest::{Chain, Digest};
use crate::error::{Error, Result};
use crate::pool;
use crate::progress::{Progress, report};
use crate::source::ReadAt;

/// Looks for the memory of a tensor of another name; says whether it is new by now.
type Other<'o, 'm> = &'o dyn Fn(&str) -> Option<(&'m [u8], bool)>;

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
    /// that failed can be repeated. No file of a base is needed: the base of a tensor is what
    /// memory has under the name of the base, if that is among the tensors and was not changed yet,
    /// or else under its own name. A tensor that rounds one of another dtype cannot be made so.
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
        let places: HashMap<&str, usize> =
            tensors.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        for at in 0..tensors.len() {
            let name = tensors[at].0;
            let memory = mem::take(&mut tensors[at].1);
            // Memory under another name, and whether it is that of the file by now.
            let other = |other: &str| {
                let place = places.get(other).copied().filter(|&place| place != at)?;
                Some((&*tensors[place].1, place < at))
            };
            let done = self.update_one(name, memory, &other, &mut scratch, progress);
            tensors[at].1 = memory;
            if let Err(error) = done {
                updated.failed = Some(error);
                return updated;
            }
            updated.names.push(name);
        }
        if self.tensors().all(|tensor| places.contains_key(tensor.name())) {
            updated.root = Some(self.root());
        }
        updated
    }

    fn update_one<'m>(
        &self,
        name: &str,
        memory: &mut [u8],
        other: Other<'_, 'm>,
        scratch: &mut Vec<u8>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let tensor = self.tensor(name)?;
        let stored = tensor.stored;
        check_len(memory, stored.raw_len())?;
        // The tensor whose bytes it shares is proven, where it was before this one.
        let first = self.header().tensors()[stored.entry.record].name();
        if let Some((proven, true)) = other(first).filter(|(other, _)| other.len() == memory.len())
        {
            memory.copy_from_slice(proven);
            return report(progress, memory.len() as u64);
        }
        let named = stored.entry.base.and_then(|(_, base)| base.name.as_deref()).unwrap_or(first);
        let elsewhere = match other(named) {
            Some((old, false)) if old.len() == memory.len() => Some(old),
            _ => None,
        };
        // The SHA-256 on record is proven by the states of a chunk table, which memory has not.
        let is_new = |bytes: &[u8]| content_digest(stored, bytes) == stored.entry.content_digest;
        if stored.entry.is_same() {
            report(progress, memory.len() as u64)?;
            return self.find_new(name, memory, elsewhere, is_new);
        }
        // The new tensor is made beside the old one, and takes its place when it is proven.
        scratch.resize(scratch.len().max(memory.len()), 0);
        let new = &mut scratch[..memory.len()];
        let Some((_, base)) = stored.entry.base else {
            decode_into(&Plan::read(stored)?, new, progress)?;
            return copy(new, memory);
        };
        if base.predictor != Predictor::Identity {
            report(progress, memory.len() as u64)?;
            let problem = "it is a rounding of another dtype, which memory does not have";
            return if is_new(memory) { Ok(()) } else { Err(self.unfit(name, problem)) };
        }
        let old = elsewhere.unwrap_or(memory);
        match decode_on(stored, old, new, progress) {
            Ok(()) => copy(new, memory),
            Err(error) if !error.is_integrity() => Err(error),
            // An earlier update may have come this far. Only now this is worth a look.
            Err(error) => {
                let is_base = base.digest == Some(content_digest(stored, old));
                let found = self.find_new(name, memory, elsewhere, is_new);
                found.map_err(|neither| if is_base { error } else { neither })
            }
        }
    }

    /// Checks that memory has the new tensor already, or copies it from where it is.
    fn find_new(
        &self,
        name: &str,
        memory: &mut [u8],
        elsewhere: Option<&[u8]>,
        is_new: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        if is_new(memory) {
            return Ok(());
        }
        if let Some(new) = elsewhere.filter(|bytes| is_new(bytes)) {
            memory.copy_from_slice(new);
            return Ok(());
        }
        Err(self.unfit(name, "it is neither the base nor the tensor of the file"))
    }

    fn unfit(&self, name: &str, problem: &str) -> Error {
        Error::WrongBase { tensor: name.into(), base: "memory".into(), problem: problem.into() }
    }
}

/// Copies a tensor by all threads.
fn copy(new: &[u8], memory: &mut [u8]) -> Result<()> {
    const PIECE: usize = 1 << 20;
    pool::run(|| {
        let pieces = memory.par_chunks_mut(PIECE).zip(new.par_chunks(PIECE));
        pieces.for_each(|(memory, new)| memory.copy_from_slice(new));
        Ok(())
    })
}

/// Decodes a tensor whose base is in memory.
fn decode_on(
    stored: Stored<'_>,
    base: &[u8],
    new: &mut [u8],
    progress: &dyn Progress,
) -> Result<()> {
    let source = Memory(base);
    let entry = Entry { start: 0, end: base.len() as u64, base: None, ..stored.entry };
    let base = Stored { source: &source, entry, plain: Some(&[]), ..stored };
    let base =
        Ground { plan: Plan::read(base)?, predictor: Predictor::Identity, is_verifiable: false };
    decode_into(&Plan::read_on(stored, base)?, new, progress)
}

fn decode_into(plan: &Plan<'_>, new: &mut [u8], progress: &dyn Progress) -> Result<()> {
    let mut jobs = Vec::new();
    let mut rest = new;
    for chunk in 0..plan.tensor.chunk_count() {
        let (out, after) = rest.split_at_mut(plan.chunk_len(chunk));
        jobs.push(Job { plan, chunk, out });
        rest = after;
    }
    decode::all(&mut jobs, progress)
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
