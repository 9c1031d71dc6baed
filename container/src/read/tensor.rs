//! One tensor of an open file: reading and verifying it, whole or in part.

use std::ops::Range;

use at1w_codec::{Dtype, Model};

use crate::digest::Digest;
use crate::format::chunking::Chunking;
use crate::format::header::TensorInfo;
use crate::progress::Progress;
use crate::read::decode::{self, Chunk, Job};
use crate::read::index::Entry;
use crate::read::plan::{self, Plan};
use crate::read::reader::{Limits, check_len};
use crate::read::slice::{Runs, Slice};
use crate::source::ReadAt;
use crate::{Error, Result};

/// A tensor of an open file.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    pub(crate) source: &'a dyn ReadAt,
    pub(crate) info: &'a TensorInfo,
    pub(crate) entry: Entry<'a>,
    limits: Limits,
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
        self.info.raw_len()
    }

    /// Bytes that it takes in the file: payloads, model and chunk table. 0 for one that shares those
    /// of an earlier tensor with the same content.
    pub fn stored_len(&self) -> u64 {
        if self.entry.shared { 0 } else { self.entry.end - self.entry.start }
    }

    /// In how many chunks it is stored, each readable alone.
    pub fn chunk_count(&self) -> u64 {
        self.chunking().count()
    }

    /// The model that its chunks are coded with; reads no more than that.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`] and [`Error::Read`].
    pub fn model(&self) -> Result<Model> {
        plan::read_model(self)
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
        check_len(out, self.raw_len())?;
        let result = self.read_runs(&Runs::contiguous(0, self.raw_len()), out, &());
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
        self.read_runs(&Runs::contiguous(0, self.raw_len()), &mut out, &())?;
        Ok(out)
    }

    /// Reads a part of the tensor: its shape, and its bytes in row-major order. Only the chunks
    /// that it touches are read, and verified: rows touch few, a column touches all.
    ///
    /// # Errors
    /// [`Error::Slice`], and as [`Tensor::read_to_vec`].
    pub fn read_slice(&self, slice: &Slice) -> Result<(Vec<u64>, Vec<u8>)> {
        let (shape, runs) = Runs::of(slice, self.info)?;
        let mut out = self.allocate(runs.total())?;
        self.read_runs(&runs, &mut out, &())?;
        Ok((shape, out))
    }

    /// [`Tensor::read_slice`] into `out`, which has the size of the part.
    pub(crate) fn read_slice_with(
        &self,
        slice: &Slice,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        let (_, runs) = Runs::of(slice, self.info)?;
        check_len(out, runs.total())?;
        self.read_runs(&runs, out, progress)
    }

    /// Decodes and checks every chunk: afterwards the SHA-256 of the tensor is proven.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`], [`Error::Read`], [`Error::Cancelled`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        let plan = Plan::read(*self)?;
        let plan = &plan;
        let chunks: Vec<_> = (0..self.chunk_count()).map(|chunk| Chunk { plan, chunk }).collect();
        decode::verify(&chunks, progress)
    }

    /// Reads runs of the tensor into `out`, which has their total size; on failure its bytes are
    /// verified, zero, or what they were.
    pub(crate) fn read_runs(
        &self,
        runs: &Runs,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        debug_assert_eq!(runs.total(), out.len() as u64);
        if self.raw_len() == 0 {
            // No run of bytes leads to the one chunk, which has a digest all the same.
            return self.verify(&());
        }
        if out.is_empty() {
            return Ok(());
        }
        let plan = Plan::read(*self)?;
        // Most runs cover whole chunks, but for the first and the last one.
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        for (chunk, out) in self.parts(runs, out) {
            let Range { start, end } = self.chunking().range(chunk);
            if out.len() as u64 == end - start {
                whole.push(Job { plan: &plan, chunk, out });
            } else {
                cut.push((chunk, out));
            }
        }
        decode::all(&mut whole, progress)?;
        let copy = |chunk, raw: &_, out: &mut _| {
            runs.gather(self.chunking().range(chunk), raw, out);
        };
        decode::parts(&plan, &mut cut, copy, progress)
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

    fn allocate(&self, size: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.limits.reserve(&mut out, size, || format!("tensor {:?}", self.name()))?;
        // Within the capacity, and so of a size that fits.
        out.resize(size as usize, 0);
        Ok(out)
    }

    pub(crate) fn damaged(&self, chunk: Option<u64>, offset: u64, problem: String) -> Error {
        Error::DamagedTensor { name: self.name().into(), chunk, offset, problem }
    }

    pub(crate) fn chunking(&self) -> Chunking {
        Chunking::of(self.info)
    }
}
