//! One tensor of an open file: reading and verifying it, whole or in part.

use std::fmt;
use std::ops::Range;

use at1w_codec::{Dtype, Model};

use super::buffer::{check_len, zeroed};
use super::decode::{self, Job, See, unseen};
use super::kept::Kept;
use super::options::Limits;
use super::plan::Plan;
use super::rows::Rows;
use super::runs::Runs;
use super::slice::Slice;
use super::stored::Stored;
use crate::digest::Digest;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::format::bases::BaseModel;
use crate::progress::{Progress, report};

/// A tensor of an open file.
///
/// # Examples
/// ```
/// # use at1w_container::{Dtype, OpenOptions, PackOptions, Reader, Staged, StagedTensor, pack};
/// # let data: Vec<u8> = (0..24).collect();
/// # let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[4, 6], data: &data };
/// # let staged = Staged::new(vec![tensor], None)?;
/// # let mut file = Vec::new();
/// # pack(&staged, &mut file, &PackOptions::new())?;
/// # let reader = Reader::new(Box::new(file), &OpenOptions::new())?;
/// let tensor = reader.tensor("w")?;
/// assert_eq!((tensor.dtype(), tensor.shape()), (Some(Dtype::U8), &[4, 6][..]));
/// // Only the chunks that the rows are in are read.
/// let (shape, rows) = tensor.read_slice(&"1:3".parse()?)?;
/// assert_eq!((shape, rows), (vec![2, 6], (6..18).collect()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    pub(super) stored: Stored<'a>,
    limits: Limits,
    model: Option<&'a BaseModel>,
    /// The chunks that the file keeps, and the index of the tensor in data order.
    kept: (&'a Kept, usize),
}

/// The base of a tensor that is a version of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorBase<'a> {
    /// The root of the model that the base is in.
    pub root: Digest,
    /// The name that the file of the base had.
    pub file: &'a str,
    /// The name of the base.
    pub tensor: &'a str,
    /// The content digest of the base.
    pub digest: Digest,
    /// The number of bases to a tensor that stands alone.
    pub depth: u8,
    /// Whether the tensor is the same as the base.
    pub same: bool,
}

impl fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("name", &self.name())
            .field("dtype", &self.dtype_name())
            .field("shape", &self.shape())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

impl<'a> Tensor<'a> {
    pub(super) fn new(
        stored: Stored<'a>,
        limits: Limits,
        model: Option<&'a BaseModel>,
        kept: (&'a Kept, usize),
    ) -> Self {
        Self { stored, limits, model, kept }
    }

    /// Returns the base, if the tensor is a version of another.
    pub fn base(&self) -> Option<TensorBase<'a>> {
        let entry = &self.stored.entry;
        let ((_, base), BaseModel { root, name: file }) = entry.base.zip(self.model)?;
        Some(TensorBase {
            root: *root,
            file,
            tensor: base.name.as_deref().unwrap_or(self.name()),
            digest: base.digest.unwrap_or(entry.content_digest),
            depth: base.depth,
            same: entry.is_same(),
        })
    }

    /// Returns the name.
    pub fn name(&self) -> &'a str {
        self.stored.info.name()
    }

    /// Returns the dtype; `None` for one that this version does not know.
    pub fn dtype(&self) -> Option<Dtype> {
        self.stored.info.dtype()
    }

    /// Returns the dtype as the header spells it.
    pub fn dtype_name(&self) -> &'a str {
        self.stored.info.dtype_name()
    }

    /// Returns the shape, in elements.
    pub fn shape(&self) -> &'a [u64] {
        self.stored.info.shape()
    }

    /// Returns the length of the tensor, in bytes.
    pub fn raw_len(&self) -> u64 {
        self.stored.raw_len()
    }

    /// Returns the length of payloads, model and chunk table in the file, in bytes. 0 for a tensor
    /// that shares the stored bytes of an earlier one with the same content.
    pub fn stored_len(&self) -> u64 {
        let entry = &self.stored.entry;
        if entry.shared { 0 } else { entry.end - entry.start }
    }

    /// Returns the number of chunks that the tensor is stored in, each readable alone.
    pub fn chunk_count(&self) -> u64 {
        self.stored.chunk_count()
    }

    /// Reads the model that the chunks are coded with, and nothing else.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`] and [`Error::Read`].
    pub fn model(&self) -> Result<Model> {
        self.stored.read_model()
    }

    /// Returns the SHA-256 of the raw bytes.
    pub fn digest(&self) -> Digest {
        self.stored.digest()
    }

    /// Reads the whole tensor into `out`, of [`Tensor::raw_len`] bytes. Every chunk is verified.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`] and [`Error::Read`]; of versions also [`Error::NoBase`],
    /// [`Error::DeepBase`], [`Error::WrongBase`] and [`Error::Base`]; `out` is then zeroed.
    /// [`Error::Buffer`].
    pub fn read(&self, out: &mut [u8]) -> Result<()> {
        check_len(out, self.raw_len())?;
        let result = self.read_runs(&Runs::contiguous(0, self.raw_len()), out, &());
        if result.is_err() {
            // No byte is handed out that was not verified.
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

    /// Reads a slice of the tensor; returns its shape, and its bytes in row-major order. Only the
    /// chunks that it touches are read and verified: rows touch few, a column touches all.
    ///
    /// # Errors
    /// [`Error::Slice`], and as [`Tensor::read_to_vec`].
    pub fn read_slice(&self, slice: &Slice) -> Result<(Vec<u64>, Vec<u8>)> {
        let (shape, runs) = Runs::of(slice, self.stored.info)?;
        let mut out = self.allocate(runs.total())?;
        self.read_runs(&runs, &mut out, &())?;
        Ok((shape, out))
    }

    /// [`Tensor::read_slice`] into `out`, which has the size of the slice.
    pub(crate) fn read_slice_with(
        &self,
        slice: &Slice,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        let (_, runs) = Runs::of(slice, self.stored.info)?;
        check_len(out, runs.total())?;
        self.read_runs(&runs, out, progress)
    }

    /// Reads rows of the tensor: positions of its first dimension, in any order and any number of
    /// times; negative numbers count from the end. Returns their shape, and their bytes in the
    /// order of the list. Each chunk that they touch is read and verified once.
    ///
    /// # Errors
    /// As [`Tensor::read_slice`].
    ///
    /// # Examples
    /// ```
    /// # use at1w_container::{Dtype, OpenOptions, PackOptions, Reader, Staged, StagedTensor, pack};
    /// # let data: Vec<u8> = (0..24).collect();
    /// # let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[4, 6], data: &data };
    /// # let mut file = Vec::new();
    /// # pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new())?;
    /// # let reader = Reader::new(Box::new(file), &OpenOptions::new())?;
    /// let (shape, rows) = reader.tensor("w")?.read_rows(&[3, -3, 3])?;
    /// assert_eq!(shape, [3, 6]);
    /// assert_eq!(rows, [&data[18..], &data[6..12], &data[18..]].concat());
    /// # Ok::<(), at1w_container::Error>(())
    /// ```
    pub fn read_rows(&self, rows: &[i64]) -> Result<(Vec<u64>, Vec<u8>)> {
        let (shape, rows) = Rows::of(rows, self.stored.info)?;
        let mut out = self.allocate(rows.total())?;
        rows.read(&self.limits, &mut out, |runs, out| self.read_runs(runs, out, &()))?;
        Ok((shape, out))
    }

    /// [`Tensor::read_rows`] into `out`, which has the size of the rows.
    pub(crate) fn read_rows_with(
        &self,
        rows: &[i64],
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        let (_, rows) = Rows::of(rows, self.stored.info)?;
        check_len(out, rows.total())?;
        rows.read(&self.limits, out, |runs, out| self.read_runs(runs, out, progress))
    }

    /// Decodes and checks every chunk: afterwards the SHA-256 of the tensor is proven.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and as [`Tensor::read`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        self.verify_showing(&unseen, progress)
    }

    /// [`Tensor::verify`] that shows the bytes of each chunk.
    pub(super) fn verify_showing(&self, see: See<'_>, progress: &dyn Progress) -> Result<()> {
        let plan = Plan::read(self.stored)?;
        let chunks: Vec<_> = plan.chunks(self.stored.info).collect();
        decode::verify(&chunks, see, progress)
    }

    /// Decodes and checks every chunk of the base, if the tensor is a version of another.
    ///
    /// # Errors
    /// As [`Tensor::verify`].
    pub fn verify_base(&self, progress: &dyn Progress) -> Result<()> {
        if self.stored.entry.base.is_none() {
            return Ok(());
        }
        let base = self.stored.base()?;
        let plan = Plan::read(base)?;
        let chunks: Vec<_> = plan.chunks(base.info).collect();
        decode::verify(&chunks, &unseen, progress)
    }

    /// Reads runs of the tensor into `out`, which has their total size. On failure, each byte of it
    /// is verified, zero, or unchanged.
    pub(crate) fn read_runs(
        &self,
        runs: &Runs,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        debug_assert_eq!(runs.total(), out.len() as u64);
        if self.raw_len() == 0 {
            // No run leads to the one chunk, which has a digest all the same.
            return self.verify(&());
        }
        if out.is_empty() {
            return Ok(());
        }
        let missing = self.copy_kept(runs, out);
        if missing.is_empty() {
            return report(progress, runs.total());
        }
        let source = self.stored.source;
        if source.request_cost() > 0 && runs.total() == self.raw_len() {
            source.will_read(&[self.stored.range()]);
        }
        self.read_missing(&Plan::read(self.stored)?, runs, missing, progress)
    }

    /// Copies the parts of runs that are in chunks that the file keeps. Returns those that are not:
    /// the chunk of each, and the memory for it. Of a chunk that is wanted whole no copy is kept.
    fn copy_kept<'o>(&self, runs: &Runs, out: &'o mut [u8]) -> Vec<(u64, &'o mut [u8])> {
        let (kept, tensor) = self.kept;
        let mut parts = self.parts(runs, out);
        if kept.takes(runs.total()) {
            let chunking = self.stored.chunking();
            parts.retain_mut(|(chunk, out)| match kept.get((tensor, *chunk)) {
                Some(raw) => {
                    runs.gather(chunking.range(*chunk), &raw, out);
                    false
                }
                None => true,
            });
        }
        parts
    }

    /// [`Tensor::read_runs`] by a plan that was read.
    pub(crate) fn read_planned(
        &self,
        plan: &Plan<'a>,
        runs: &Runs,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        self.read_missing(plan, runs, self.copy_kept(runs, out), progress)
    }

    /// Reads the parts of runs that are in these chunks, each into its memory.
    fn read_missing(
        &self,
        plan: &Plan<'a>,
        runs: &Runs,
        parts: Vec<(u64, &mut [u8])>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let source = plan.tensor.source;
        if source.request_cost() > 0 && runs.total() < self.raw_len() {
            let missing = parts.iter().filter(|(chunk, _)| plan.payload_read(*chunk).is_none());
            let ranges = missing.map(|(chunk, _)| plan.payload_range(*chunk));
            source.will_read(&ranges.collect::<Vec<_>>());
        }
        // Chunks that are wanted whole are decoded in place; of the others a part is copied.
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        for (chunk, out) in parts {
            if out.len() == plan.chunk_len(chunk) {
                whole.push(Job { plan, chunk, out });
            } else {
                cut.push((chunk, out));
            }
        }
        decode::all(&mut whole, progress)?;
        // A slice through all of a large tensor would only push out what others come back to.
        let (kept, tensor) = self.kept;
        let keeps = kept.takes(cut.iter().map(|&(chunk, _)| plan.chunk_len(chunk) as u64).sum());
        let copy = |chunk, raw: &[u8], out: &mut _| {
            runs.gather(self.stored.chunking().range(chunk), raw, out);
            if keeps {
                kept.put((tensor, chunk), raw);
            }
        };
        decode::parts(plan, &mut cut, copy, progress)
    }

    /// Returns the ranges of the file that hold the chunks of runs, without those that were read.
    pub(crate) fn payloads(&self, plan: &Plan<'a>, runs: &Runs) -> Vec<Range<u64>> {
        let chunks = runs.chunks(self.stored.chunking());
        let missing = chunks.filter(|&chunk| plan.payload_read(chunk).is_none());
        missing.map(|chunk| plan.payload_range(chunk)).collect()
    }

    /// Returns the touched chunks, each with the part of `out` that it fills.
    fn parts<'o>(&self, runs: &Runs, mut out: &'o mut [u8]) -> Vec<(u64, &'o mut [u8])> {
        let chunking = self.stored.chunking();
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

    /// Checks that there are stored bytes, before memory is taken for the tensor: a few bytes can
    /// claim a large one, as long as nobody looks for its base.
    pub(super) fn check_backed(&self) -> Result<()> {
        self.stored.resolve().map(drop)
    }

    fn allocate(&self, size: u64) -> Result<Vec<u8>> {
        self.check_backed()?;
        zeroed(&self.limits, size, || format!("tensor {:?}", self.name()))
    }
}
