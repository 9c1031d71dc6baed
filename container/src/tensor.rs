//! One tensor of an open file: reading and verifying it, whole or in part.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use at1w_codec::{Decoder, Dtype, Model, max_encoded_len};
use rayon::prelude::*;

use crate::chunking::Chunking;
use crate::digest::{Digest, State};
use crate::format::{self, PAYLOAD_LEN, STATE_LEN};
use crate::header::TensorInfo;
use crate::index::Entry;
use crate::progress::{Progress, report};
use crate::reader::Limits;
use crate::slice::{Runs, Slice};
use crate::source::{self, ReadAt};
use crate::{Error, Result, layout_of};

/// A tensor of an open file.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    source: &'a dyn ReadAt,
    info: &'a TensorInfo,
    entry: Entry<'a>,
    limits: Limits,
}

/// What is needed to decode and verify any chunk of a tensor.
struct Plan<'a> {
    model: Model,
    /// Where each payload is in the file.
    payloads: Vec<Range<u64>>,
    /// After each chunk but the last.
    states: Vec<State>,
    /// The only payload, of a tensor with one chunk: it came with the model.
    payload: Option<Cow<'a, [u8]>>,
}

thread_local! {
    /// Working memory for a chunk. Borrowed only where no other work can be stolen meanwhile.
    static SCRATCH: RefCell<(Decoder, Vec<u8>)> = RefCell::default();
}

impl<'a> Tensor<'a> {
    pub(crate) fn new(
        source: &'a dyn ReadAt,
        info: &'a TensorInfo,
        entry: Entry<'a>,
        limits: Limits,
    ) -> Self {
        Self { source, info, entry, limits }
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        &self.info.name
    }

    /// The dtype; `None` for one that this version does not know.
    pub fn dtype(&self) -> Option<Dtype> {
        self.info.dtype()
    }

    /// The dtype as the header spells it.
    pub fn dtype_name(&self) -> &'a str {
        self.info.dtype_name()
    }

    /// The shape, in elements.
    pub fn shape(&self) -> &'a [u64] {
        &self.info.shape
    }

    /// Bits of an element, where the dtype is known.
    pub fn element_bits(&self) -> Option<u32> {
        self.dtype().map(Dtype::bits)
    }

    /// Bytes of the tensor.
    pub fn raw_len(&self) -> u64 {
        self.info.len()
    }

    /// Bytes that it takes in the file: payloads, model and chunk table.
    pub fn stored_len(&self) -> u64 {
        self.entry.end - self.entry.start
    }

    /// In how many chunks it is stored, each readable alone.
    pub fn chunk_count(&self) -> u64 {
        self.chunking().count()
    }

    /// SHA-256 of the raw bytes.
    pub fn digest(&self) -> Digest {
        self.entry.digest()
    }

    /// Reads the whole tensor into `out`, of [`Tensor::raw_len`] bytes. Every chunk is verified.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`] and [`Error::Read`]; `out` is then zeroed. [`Error::Buffer`].
    pub fn read(&self, out: &mut [u8]) -> Result<()> {
        let needed = self.raw_len();
        if out.len() as u64 != needed {
            return Err(Error::Buffer { len: out.len(), needed });
        }
        let result = self.read_runs(&Runs::contiguous(0, needed), out);
        if result.is_err() {
            // Nothing that was not verified is handed out.
            out.fill(0);
        }
        result
    }

    /// [`Tensor::read`] into new memory.
    ///
    /// # Errors
    /// As [`Tensor::read`], and [`Error::Limit`].
    pub fn read_to_vec(&self) -> Result<Vec<u8>> {
        let mut out = self.allocate(self.raw_len())?;
        self.read_runs(&Runs::contiguous(0, self.raw_len()), &mut out)?;
        Ok(out)
    }

    /// Reads a part of the tensor: its shape, and its bytes in row-major order. Only the chunks
    /// that it touches are read, and verified: rows touch few, a column touches all.
    ///
    /// # Errors
    /// [`Error::Slice`], and as [`Tensor::read_to_vec`].
    pub fn read_slice(&self, slice: &Slice) -> Result<(Vec<u64>, Vec<u8>)> {
        let fail = |problem| Error::Slice {
            name: self.name().into(),
            shape: self.shape().into(),
            problem,
        };
        let Some(bits) = self.element_bits() else {
            return Err(fail(format!("its dtype {} is unknown, read it whole", self.dtype_name())));
        };
        let (shape, runs) = Runs::of(slice, self.shape(), bits.into()).map_err(fail)?;
        let mut out = self.allocate(runs.total())?;
        self.read_runs(&runs, &mut out)?;
        Ok((shape, out))
    }

    /// Decodes and checks every chunk: afterwards the SHA-256 of the tensor is proven.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`], [`Error::Read`], [`Error::Cancelled`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        let plan = self.plan()?;
        (0..self.chunk_count()).into_par_iter().try_for_each(|chunk| {
            self.with_chunk(&plan, chunk, |raw| report(progress, raw.len() as u64))?
        })
    }

    /// Reads runs of the tensor into `out`, which has their total size; on failure it holds
    /// bytes that were not verified.
    pub(crate) fn read_runs(&self, runs: &Runs, out: &mut [u8]) -> Result<()> {
        debug_assert_eq!(runs.total(), out.len() as u64);
        if self.raw_len() == 0 {
            // No run of bytes leads to the one chunk, which has a digest all the same.
            return self.verify(&());
        }
        if out.is_empty() {
            return Ok(());
        }
        let plan = self.plan()?;
        let mut parts = self.parts(runs, out);
        if let [(chunk, out)] = &mut parts[..] {
            // Not worth waking other threads for.
            return self.read_chunk(&plan, *chunk, runs, out);
        }
        parts.into_par_iter().try_for_each(|(chunk, out)| self.read_chunk(&plan, chunk, runs, out))
    }

    /// The touched chunks, with the part of `out` that each fills.
    fn parts<'o>(&self, runs: &Runs, mut out: &'o mut [u8]) -> Vec<(u64, &'o mut [u8])> {
        let chunking = self.chunking();
        let Range { start, end } = runs.span();
        let mut parts = Vec::new();
        for chunk in chunking.chunk_of(start)..=chunking.chunk_of(end - 1) {
            let Range { start, end } = chunking.range(chunk);
            let len = runs.bytes_before(end) - runs.bytes_before(start);
            if len > 0 {
                let (part, rest) = out.split_at_mut(len as usize);
                parts.push((chunk, part));
                out = rest;
            }
        }
        parts
    }

    fn read_chunk(&self, plan: &Plan<'_>, chunk: u64, runs: &Runs, out: &mut [u8]) -> Result<()> {
        let range = self.chunking().range(chunk);
        if out.len() as u64 == range.end - range.start {
            let payload = self.payload(plan, chunk)?;
            return SCRATCH
                .with_borrow_mut(|(decoder, _)| self.decode(plan, chunk, &payload, decoder, out));
        }
        self.with_chunk(plan, chunk, |raw| {
            let mut rest = out;
            for piece in runs.within(range) {
                let (to, after) = rest.split_at_mut(piece.len());
                to.copy_from_slice(&raw[piece]);
                rest = after;
            }
        })
    }

    /// Passes a verified chunk to `use_it`.
    fn with_chunk<T>(
        &self,
        plan: &Plan<'_>,
        chunk: u64,
        use_it: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let Range { start, end } = self.chunking().range(chunk);
        let payload = self.payload(plan, chunk)?;
        SCRATCH.with_borrow_mut(|(decoder, raw)| {
            raw.resize((end - start) as usize, 0);
            self.decode(plan, chunk, &payload, decoder, raw)?;
            Ok(use_it(raw))
        })
    }

    /// The encoded bytes of a chunk. Read before the working memory is borrowed: a source may do
    /// what it likes, such as work for another read on this thread.
    fn payload<'p>(&self, plan: &'p Plan<'a>, chunk: u64) -> Result<Cow<'p, [u8]>> {
        match &plan.payload {
            Some(payload) => Ok(Cow::Borrowed(payload)),
            None => source::read(self.source, plan.payloads[chunk as usize].clone()),
        }
    }

    /// Decodes a chunk into all of `raw` and verifies it.
    fn decode(
        &self,
        plan: &Plan<'_>,
        chunk: u64,
        payload: &[u8],
        decoder: &mut Decoder,
        raw: &mut [u8],
    ) -> Result<()> {
        let offset = plan.payloads[chunk as usize].start;
        decoder
            .decode(&plan.model, payload, raw)
            .map_err(|e| self.damaged(Some(chunk), offset, e.to_string()))?;

        let mut state = match chunk.checked_sub(1) {
            None => State::INITIAL,
            Some(before) => plan.states[before as usize],
        };
        let matches = match plan.states.get(chunk as usize) {
            Some(after) => {
                state.update(raw);
                state == *after
            }
            None => state.finish(raw, self.raw_len()) == self.digest(),
        };
        if !matches {
            let problem = "its content does not match its SHA-256".into();
            return Err(self.damaged(Some(chunk), offset, problem));
        }
        Ok(())
    }

    /// Reads the model and the chunk table; of a tensor with one chunk also its payload.
    fn plan(&self) -> Result<Plan<'a>> {
        let Entry { start, end, .. } = self.entry;
        let chunks = self.chunk_count();
        let table_len = format::chunk_table_len(chunks);
        let model_start = end - table_len - self.entry.model_len();
        let first = if chunks == 1 { start } else { model_start };
        let bytes = source::read(self.source, first..end)?;
        // The index is checked: the lengths fit.
        let table = &bytes[bytes.len() - table_len as usize..];
        let model = &bytes[(model_start - first) as usize..][..self.entry.model_len() as usize];
        let model = Model::from_bytes(layout_of(self.info), model)
            .map_err(|e| self.damaged(None, model_start, format!("its model: {e}")))?;
        if chunks == 1 {
            self.check_payload(0, start, model_start - start)?;
            let payload = match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..(model_start - start) as usize]),
                Cow::Owned(mut bytes) => {
                    bytes.truncate((model_start - start) as usize);
                    Cow::Owned(bytes)
                }
            };
            let mut plan = Plan { model, payloads: Vec::new(), states: Vec::new(), payload: None };
            plan.payloads.push(start..model_start);
            plan.payload = Some(payload);
            return Ok(plan);
        }

        let (lens, states) = table.split_at((chunks * PAYLOAD_LEN) as usize);
        if format::content_digest(states, self.digest()) != self.entry.content_digest {
            let problem = "its chunk states do not match its content digest".into();
            return Err(self.damaged(None, end - (chunks - 1) * STATE_LEN, problem));
        }
        let mut payloads = Vec::with_capacity(chunks as usize);
        let mut at = start;
        for (chunk, len) in lens.as_chunks().0.iter().enumerate() {
            let len = u64::from(u32::from_le_bytes(*len));
            self.check_payload(chunk as u64, at, len)?;
            payloads.push(at..at + len);
            at += len;
        }
        if at != model_start {
            let problem = "its payload lengths do not add up".into();
            return Err(self.damaged(None, end - table_len, problem));
        }
        let states = states.as_chunks().0.iter().map(State::from_bytes).collect();
        Ok(Plan { model, payloads, states, payload: None })
    }

    /// That a payload is no longer than any encoding of its chunk.
    fn check_payload(&self, chunk: u64, offset: u64, len: u64) -> Result<()> {
        let Range { start, end } = self.chunking().range(chunk);
        let max = max_encoded_len((end - start) as usize) as u64;
        if len > max {
            let problem = format!("its payload has {len} bytes, {max} are always enough");
            return Err(self.damaged(Some(chunk), offset, problem));
        }
        Ok(())
    }

    fn allocate(&self, size: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.limits.reserve(&mut out, size, || format!("tensor {:?}", self.name()))?;
        // Within the capacity, and so of a size that fits.
        out.resize(size as usize, 0);
        Ok(out)
    }

    fn damaged(&self, chunk: Option<u64>, offset: u64, problem: String) -> Error {
        Error::DamagedTensor { name: self.name().into(), chunk, offset, problem }
    }

    fn chunking(&self) -> Chunking {
        Chunking::of(self.info)
    }
}
