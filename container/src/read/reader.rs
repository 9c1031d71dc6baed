//! An open file.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::digest::{Chain, Digest};
use crate::format::chunking::{ChunkRef, MAX_TENSORS, batches};
use crate::format::header::Header;
use crate::kind::{Wanted, open_file};
use crate::progress::{Progress, report};
use crate::read::decode::{self, Chunk, Job};
use crate::read::index::Index;
use crate::read::plan::Plan;
use crate::read::slice::Runs;
use crate::read::tensor::Tensor;
use crate::source::ReadAt;
use crate::write::pack::BATCH_LEN;
use crate::{Backend, Error, Result, pool};

/// Raw bytes of tensors that are read together, no more than [`MAX_TENSORS`]; a larger one is read
/// alone. Of small tensors, all that is read of the file is in memory at a time.
const READ_BATCH_LEN: u64 = 32 << 20;

/// Sizes above which a file is refused rather than believed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the index and of the header that is in it, inflated: 112 a tensor at most, and the
    /// header as it is stored. A header can take up to 32 times its length in memory. Default 1 GiB.
    pub index_len: u64,
    /// Raw bytes of a tensor that a read allocates for. A file holds at least a byte for every
    /// 13,444 of them, which bounds what a small hostile file can ask for. Default 64 GiB.
    pub tensor_len: u64,
    /// Bytes of the original file: tensors that share their bytes can make it far larger than the
    /// packed one. Default 4 TiB.
    pub original_len: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { index_len: 1 << 30, tensor_len: 64 << 30, original_len: 4 << 40 }
    }
}

impl Limits {
    /// Makes room for `size` bytes, if they are within the limit and there is so much memory.
    pub(crate) fn reserve(
        &self,
        out: &mut Vec<u8>,
        size: u64,
        what: impl Fn() -> String,
    ) -> Result<()> {
        let limit = self.tensor_len;
        if size > limit {
            return Err(Error::Limit { what: what(), size, limit });
        }
        let reserved = usize::try_from(size).ok().map(|len| out.try_reserve_exact(len));
        match reserved {
            Some(Ok(())) => Ok(()),
            _ => Err(Error::Memory { what: what(), size }),
        }
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// What to refuse.
    pub limits: Limits,
    /// The root that the file must have.
    pub root: Option<Digest>,
}

/// What a file says about itself. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// Version of the format.
    pub version: u32,
    /// Features that a reader must know, a bit each.
    pub required_features: u64,
    /// Features that a reader may ignore, a bit each.
    pub optional_features: u64,
    /// The `.at1w` file.
    pub packed_len: u64,
    /// The safetensors file.
    pub original_len: u64,
    /// SHA-256 of the safetensors file.
    pub original_digest: Digest,
    /// What pins all content.
    pub root: Digest,
    /// The JSON header of the safetensors file.
    pub header_len: u64,
    /// The same as it is stored.
    pub header_stored_len: u64,
    /// Tensor records and content digests.
    pub index_len: u64,
    /// Payload lengths and chunk states of all tensors.
    pub chunk_tables_len: u64,
    /// Models of all tensors.
    pub models_len: u64,
}

/// An open `.at1w` file. Its index is in memory and agrees with its root; tensors are read, and
/// each chunk verified, when they are asked for.
pub struct Reader {
    source: Box<dyn ReadAt>,
    index: Index,
    limits: Limits,
}

impl Reader {
    /// Opens a file with default [`OpenOptions`].
    ///
    /// # Errors
    /// As [`Reader::open_with`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Backend`], [`Error::NotAt1w`], [`Error::WrongKind`], [`Error::Version`],
    /// [`Error::Features`],
    /// [`Error::Damaged`], [`Error::Root`], [`Error::Limit`] and those of the file system; all name
    /// the file.
    pub fn open_with(path: &Path, options: &OpenOptions) -> Result<Self> {
        let file = open_file(path, Wanted::At1w)?;
        Self::new(Box::new(file), options).map_err(|e| e.in_file(path))
    }

    /// Opens what a source holds: a file, a [`crate::Mapped`] one, bytes, or something remote.
    ///
    /// # Errors
    /// As [`Reader::open_with`], without the name of the file.
    pub fn new(source: Box<dyn ReadAt>, options: &OpenOptions) -> Result<Self> {
        Backend::from_environment()?;
        let index = Index::read(&*source, options)?;
        Ok(Self { source, index, limits: options.limits })
    }

    /// The root of the file.
    pub fn root(&self) -> Digest {
        self.index.info.root
    }

    /// What the file says about itself.
    pub fn info(&self) -> &FileInfo {
        &self.index.info
    }

    /// The header of the original file.
    pub fn header(&self) -> &Header {
        &self.index.header
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.index.header.tensors().len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensors in data order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::NoTensor`], with names that are much like it.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        self.index.header.index_of(name).map(|index| self.at(index))
    }

    fn at(&self, index: usize) -> Tensor<'_> {
        let info = &self.index.header.tensors()[index];
        Tensor::new(&*self.source, info, self.index.entry(index), self.limits)
    }

    /// Reads several tensors, each into memory of its size. Every chunk is verified.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Buffer`], [`Error::DamagedTensor`], [`Error::Read`] and
    /// [`Error::Cancelled`]. The bytes of memory are then verified, zero, or what they were.
    pub fn read_tensors(
        &self,
        wanted: &mut [(&str, &mut [u8])],
        progress: &dyn Progress,
    ) -> Result<()> {
        let tensors = wanted.iter().map(|(name, out)| {
            let tensor = self.tensor(name)?;
            check_len(out, tensor.raw_len())?;
            Ok(tensor)
        });
        let mut tensors: &[_] = &tensors.collect::<Result<Vec<_>>>()?;
        let mut wanted = wanted;
        while !tensors.is_empty() {
            let mut len = 0;
            let fits = |tensor: &&Tensor<'_>| {
                let before = len;
                len += tensor.raw_len();
                before == 0 || len <= READ_BATCH_LEN
            };
            let count = tensors.iter().take(MAX_TENSORS).take_while(fits).count();
            let (batch, outs) = wanted.split_at_mut(count);
            read_batch(&tensors[..count], batch, progress)?;
            (tensors, wanted) = (&tensors[count..], outs);
        }
        Ok(())
    }

    /// Reads every chunk of every tensor and checks it: afterwards the SHA-256 of each tensor is
    /// proven, and that they belong to the root.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`], [`Error::Cancelled`], [`Error::Read`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        // Small tensors together, so that there is something to do side by side.
        let (shared, stored): (Vec<_>, Vec<_>) =
            self.tensors().partition(|tensor| tensor.entry.shared);
        let (small, large): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|tensor| tensor.chunk_count() == 1);
        // What they share is checked once: a small file may hold many of a large tensor.
        report(progress, shared.iter().map(Tensor::raw_len).sum())?;
        pool::run(|| {
            large.into_par_iter().try_for_each(|tensor| tensor.verify(progress))?;
            small.par_chunks(decode::group_len(small.len())).try_for_each(|tensors| {
                let plans = tensors.iter().map(|&tensor| Plan::read(tensor));
                let plans = plans.collect::<Result<Vec<_>>>()?;
                let chunks: Vec<_> = plans.iter().map(|plan| Chunk { plan, chunk: 0 }).collect();
                decode::verify_group(&chunks, progress)
            })
        })
    }

    /// [`Reader::verify`], and the SHA-256 of the original file.
    ///
    /// # Errors
    /// As [`Reader::verify`], and [`Error::Original`].
    pub fn verify_original(&self, progress: &dyn Progress) -> Result<()> {
        self.restore(&mut std::io::sink(), progress)
    }

    /// Writes the original file, every chunk verified before it is written, and checks the SHA-256
    /// of the whole.
    ///
    /// # Errors
    /// As [`Reader::verify_original`], and [`Error::Write`].
    pub fn restore(
        &self,
        sink: &mut (dyn std::io::Write + Send),
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut original = Chain::new();
        let mut write = |bytes: &[u8]| {
            original.update(bytes);
            sink.write_all(bytes).map_err(Error::Write)
        };
        write(&self.index.header.prefix())?;
        write(self.index.header.bytes())?;
        let mut pending = Vec::new();
        let mut last = None;
        for batch in batches(&self.index.header, BATCH_LEN) {
            let (decoded, written) = pool::run(|| {
                Ok(rayon::join(
                    || self.decode_batch(&batch, &mut last),
                    || write(&pending).and_then(|()| report(progress, pending.len() as u64)),
                ))
            })?;
            written?;
            pending = decoded?;
        }
        write(&pending)?;
        report(progress, pending.len() as u64)?;

        let (expected, actual) = (self.index.info.original_digest, original.finish());
        if actual != expected {
            return Err(Error::Original {
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
        Ok(())
    }

    /// The raw bytes of consecutive chunks. `last` is the plan of the tensor that the batch before
    /// has ended with.
    fn decode_batch<'a>(
        &'a self,
        batch: &[ChunkRef],
        last: &mut Option<(usize, Plan<'a>)>,
    ) -> Result<Vec<u8>> {
        let tensors: Vec<usize> =
            batch.chunk_by(|a, b| a.tensor == b.tensor).map(|chunks| chunks[0].tensor).collect();
        let kept = last.take().filter(|(tensor, _)| tensors.first() == Some(tensor));
        let new = tensors.par_iter().skip(kept.iter().len());
        let new: Vec<_> =
            new.map(|&tensor| Ok((tensor, Plan::read(self.at(tensor))?))).collect::<Result<_>>()?;
        let mut plans: Vec<_> = kept.into_iter().chain(new).collect();

        let mut raw = vec![0; batch.iter().map(ChunkRef::len).sum()];
        let mut rest = &mut raw[..];
        let mut jobs = Vec::with_capacity(batch.len());
        let tensors = batch.chunk_by(|a, b| a.tensor == b.tensor);
        for (chunks, (_, plan)) in tensors.zip(&plans) {
            for chunk in chunks {
                let (out, after) = rest.split_at_mut(chunk.len());
                jobs.push(Job { plan, chunk: chunk.chunk, out });
                rest = after;
            }
        }
        decode::all(&mut jobs, &())?;
        *last = plans.pop();
        Ok(raw)
    }

    /// Bytes of the original file; decodes only the chunks that they are in.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::Limit`], and those of [`Tensor::read`].
    pub fn read_original(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let Range { start, end } = range;
        let len = self.index.info.original_len;
        if start > end || end > len {
            return Err(Error::Range { start, end, len });
        }
        let size = end - start;
        let header = &self.index.header;
        let mut out = Vec::new();
        self.limits.reserve(&mut out, size, || "a byte range".into())?;
        for (part, part_start) in [(&header.prefix()[..], 0), (header.bytes(), 8)] {
            let part_end = part_start + part.len() as u64;
            let (from, to) = (start.clamp(part_start, part_end), end.clamp(part_start, part_end));
            out.extend_from_slice(&part[(from - part_start) as usize..(to - part_start) as usize]);
        }
        let data_start = header.data_start();
        let data = start.saturating_sub(data_start)..end.saturating_sub(data_start);
        for index in self.index.overlapping(data.clone()) {
            let tensor = header.tensors()[index].data.clone();
            let (from, to) = (data.start.max(tensor.start), data.end.min(tensor.end));
            let at = out.len();
            out.resize(at + to.saturating_sub(from) as usize, 0);
            let runs = Runs::contiguous(from - tensor.start, to.saturating_sub(from));
            self.at(index).read_runs(&runs, &mut out[at..], &())?;
        }
        Ok(out)
    }
}

/// Reads tensors, each into memory of its size.
fn read_batch(
    tensors: &[Tensor<'_>],
    wanted: &mut [(&str, &mut [u8])],
    progress: &dyn Progress,
) -> Result<()> {
    pool::run(|| {
        let plans: Vec<_> =
            tensors.par_iter().map(|&tensor| Plan::read(tensor)).collect::<Result<_>>()?;
        let mut jobs = Vec::new();
        for (plan, (_, out)) in plans.iter().zip(wanted) {
            let mut rest = &mut **out;
            for chunk in 0..plan.tensor.chunk_count() {
                let (out, after) = rest.split_at_mut(plan.chunk_len(chunk));
                jobs.push(Job { plan, chunk, out });
                rest = after;
            }
        }
        // Those of one length together: they are hashed side by side, step by step.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.out.len()));
        decode::all(&mut jobs, progress)
    })
}

/// That a buffer has the size of what is to be read into it.
pub(crate) fn check_len(out: &[u8], needed: u64) -> Result<()> {
    match out.len() {
        len if len as u64 == needed => Ok(()),
        len => Err(Error::Buffer { len, needed }),
    }
}
