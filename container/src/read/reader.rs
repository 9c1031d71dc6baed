//! An open file.

use std::cmp::Reverse;
use std::fmt;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, OnceLock};

use at1w_codec::Backend;
use rayon::prelude::*;

use super::base::{FindBase, FoundBase, WantedBase};
use super::buffer::check_len;
use super::decode::{self, Chunk, Job};
use super::index::Index;
use super::info::FileInfo;
use super::kept::Kept;
use super::options::{Limits, OpenOptions};
use super::plan::Plan;
use super::runs::Runs;
use super::slice::Slice;
use super::stored::{Stored, Versions};
use super::tensor::Tensor;
use crate::backend::chosen;
use crate::batches::{MAX_TENSORS, MAX_VERSIONS};
use crate::digest::Digest;
use crate::error::base::MissingBase;
use crate::error::{Error, Result};
use crate::format::header::Header;
use crate::kind::Wanted;
use crate::pool;
use crate::progress::{Progress, report};
use crate::recognise::open_file;
use crate::source::ReadAt;
use crate::summary::Summary;

/// The number of raw bytes of tensors that are read together, no more than [`MAX_TENSORS`]; a
/// larger one is read alone. All that is read of the file for small tensors is in memory at a time.
const READ_BATCH_LEN: u64 = 32 << 20;

/// The number of raw bytes of large tensors that are read or verified together: enough that hardly
/// a chunk is hashed alone and threads hardly wait for each other, and few enough that bases of one
/// chunk, which their plans hold, take little memory.
const LARGE_BATCH_LEN: u64 = 256 << 20;

/// An open `.at1w` file. Its index is in memory and agrees with its root. Tensors are read, and
/// their chunks verified, when they are asked for.
///
/// The chunks of which slices were read last are kept, verified, up to
/// [`OpenOptions::kept_len`] and up to 256 MiB in all open files. An open file does not follow
/// changes: where somebody writes to it, reads fail, or give what was there when it was proven.
///
/// # Examples
/// ```
/// use at1w_container::{Dtype, OpenOptions, PackOptions, Reader, Staged, StagedTensor, pack};
///
/// // A packed file in memory. `Reader::open` opens one on disk.
/// let data: Vec<u8> = (0..24).collect();
/// let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[4, 6], data: &data };
/// let mut file = Vec::new();
/// let summary = pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new())?;
///
/// let options = OpenOptions::new().root(summary.root);
/// let reader = Reader::new(Box::new(file), &options)?;
/// assert_eq!(reader.tensor("w")?.read_to_vec()?, data);
/// reader.verify(&())?;
/// # Ok::<(), at1w_container::Error>(())
/// ```
pub struct Reader {
    source: Box<dyn ReadAt>,
    pub(super) index: Index,
    pub(super) limits: Limits,
    pub(super) backend: Backend,
    /// The search for bases, and those that were found.
    finder: Option<Arc<dyn FindBase>>,
    found: Box<[OnceLock<FoundBase>]>,
    kept: Kept,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("info", self.info())
            .field("tensors", &self.len())
            .finish_non_exhaustive()
    }
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
    /// [`Error::Features`], [`Error::Damaged`], [`Error::Root`], [`Error::Limit`] and those of the
    /// file system; all name the file.
    pub fn open_with(path: &Path, options: &OpenOptions) -> Result<Self> {
        let file = open_file(path, Wanted::At1w)?;
        Self::new(Box::new(file), options).map_err(|e| e.in_file(path))
    }

    /// Opens a packed file in any source: a file, a [`crate::Mapped`] one, bytes in memory, or
    /// something remote.
    ///
    /// # Errors
    /// As [`Reader::open_with`], without the name of the file.
    pub fn new(source: Box<dyn ReadAt>, options: &OpenOptions) -> Result<Self> {
        let backend = chosen(options.backend)?;
        let index = Index::read(&*source, options)?;
        let found = (0..index.base_count()).map(|_| OnceLock::new()).collect();
        let (limits, kept) = (options.limits, Kept::new(options.kept_len));
        Ok(Self { source, index, limits, backend, finder: None, found, kept })
    }

    /// Sets where the bases of tensors are looked for that are versions of others. They are looked
    /// for when such a tensor is read.
    #[must_use]
    pub fn with_bases(self, finder: Arc<dyn FindBase>) -> Self {
        Self { finder: Some(finder), ..self }
    }

    /// Returns the models that tensors of this file are versions of: their roots, and the names
    /// that their files had.
    pub fn base_models(&self) -> impl ExactSizeIterator<Item = (Digest, &str)> {
        self.index.base_models().iter().map(|model| (model.root, &*model.name))
    }

    /// Returns the root of the file.
    pub fn root(&self) -> Digest {
        self.index.info.root
    }

    /// Returns the facts that the file states about itself.
    pub fn info(&self) -> &FileInfo {
        &self.index.info
    }

    /// Returns the facts about the packing.
    pub fn summary(&self) -> Summary {
        let info = self.info();
        Summary {
            tensors: self.len() as u64,
            original_len: info.original_len,
            packed_len: info.packed_len,
            root: info.root,
            original_digest: info.original_digest,
            versions: self.index.base_count() as u64,
        }
    }

    /// Returns the header of the original file.
    pub fn header(&self) -> &Header {
        &self.index.header
    }

    /// Returns the number of tensors.
    pub fn len(&self) -> usize {
        self.index.header.tensors().len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the tensors in data order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Finds the tensor of that name.
    ///
    /// # Errors
    /// [`Error::NoTensor`], with the names most like it.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        self.index.header.index_of(name).map(|index| self.at(index))
    }

    /// Returns the tensor with an index in data order.
    pub(super) fn at(&self, index: usize) -> Tensor<'_> {
        let info = &self.index.header.tensors()[index];
        let entry = self.index.entry(index);
        let features = self.index.info.required_features;
        let versions = (!self.found.is_empty()).then_some(self as &dyn Versions);
        let stored = Stored {
            source: &*self.source,
            info,
            entry,
            backend: self.backend,
            features,
            plain: None,
            versions,
            via: None,
        };
        let models = self.index.base_models();
        let model = entry.base.map(|(_, base)| &models[usize::from(base.model)]);
        Tensor::new(stored, self.limits, model, (&self.kept, index))
    }

    /// Returns the content digests of all tensors, in data order.
    pub(crate) fn content_digests(&self) -> impl Iterator<Item = Digest> {
        (0..self.len()).map(|index| self.index.entry(index).content_digest)
    }

    /// Reads several tensors, each into memory of its size. Every chunk is verified. `wanted` may
    /// be sorted anew.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Buffer`], [`Error::DamagedTensor`], [`Error::Read`] and
    /// [`Error::Cancelled`]; of versions also [`Error::NoBase`], [`Error::DeepBase`],
    /// [`Error::WrongBase`] and [`Error::Base`]. Each byte of memory is then verified, zero, or
    /// unchanged.
    pub fn read_tensors(
        &self,
        wanted: &mut [(&str, &mut [u8])],
        progress: &dyn Progress,
    ) -> Result<()> {
        let is_local = self.source.request_cost() == 0;
        wanted.sort_by_cached_key(|(name, _)| match self.tensor(name) {
            // Those whose bytes are read with their plans come last.
            Ok(tensor) if is_local => u64::from(tensor.chunk_count() == 1),
            // In the order of the file, in which the bytes come.
            Ok(tensor) => tensor.stored.entry.start,
            Err(_) => 0,
        });
        let tensors = wanted.iter().map(|(name, out)| {
            let tensor = self.tensor(name)?;
            check_len(out, tensor.raw_len())?;
            Ok(tensor)
        });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        self.announce(&tensors);
        let large = tensors.partition_point(|tensor| is_local && tensor.chunk_count() > 1);
        let (large, rest) = tensors.split_at(large);
        let most = self.most_tensors();
        let large = batches(large, most, LARGE_BATCH_LEN);
        let mut wanted = wanted;
        for tensors in large.chain(batches(rest, most, READ_BATCH_LEN)) {
            let (batch, outs) = wanted.split_at_mut(tensors.len());
            read_batch(tensors, batch, progress)?;
            wanted = outs;
        }
        Ok(())
    }

    /// Reads slices of several tensors, each into memory of its size. Only the chunks that they
    /// touch are read and verified.
    ///
    /// # Errors
    /// As [`Reader::read_tensors`], and [`Error::Slice`].
    pub fn read_slices(
        &self,
        wanted: &mut [(&str, &Slice, &mut [u8])],
        progress: &dyn Progress,
    ) -> Result<()> {
        for wanted in wanted.chunks_mut(self.most_tensors()) {
            let parts = wanted.iter().map(|(name, slice, out)| {
                let tensor = self.tensor(name)?;
                let (_, runs) = Runs::of(slice, tensor.stored.info)?;
                check_len(out, runs.total())?;
                Ok((tensor, runs))
            });
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let stored: Vec<_> = parts.iter().map(|(tensor, _)| tensor.stored).collect();
            let plans = Plan::read_all(&stored)?;
            if self.source.request_cost() > 0 {
                let own = |plan: &Plan<'_>| ptr::addr_eq(plan.tensor.source, &*self.source);
                let payloads = parts.iter().zip(&plans).filter(|(_, plan)| own(plan));
                let ranges =
                    payloads.flat_map(|((tensor, runs), plan)| tensor.payloads(plan, runs));
                self.source.will_read(&ranges.collect::<Vec<_>>());
            }
            for (((tensor, runs), plan), (_, _, out)) in parts.iter().zip(&plans).zip(wanted) {
                tensor.read_planned(plan, runs, out, progress)?;
            }
        }
        Ok(())
    }

    /// Returns the number of tensors whose models may be in memory together.
    pub(super) fn most_tensors(&self) -> usize {
        if self.found.is_empty() { MAX_TENSORS } else { MAX_VERSIONS }
    }

    /// Tells the source that tensors will be read whole, in this order. One whose requests are
    /// expensive sends them ahead, so that bytes are on their way while others are decoded.
    ///
    /// # Errors
    /// [`Error::NoTensor`].
    pub fn prefetch(&self, names: &[&str]) -> Result<()> {
        let tensors = names.iter().map(|name| self.tensor(name)).collect::<Result<Vec<_>>>()?;
        self.announce(&tensors);
        Ok(())
    }

    pub(super) fn announce(&self, tensors: &[Tensor<'_>]) {
        if self.source.request_cost() > 0 {
            let ranges: Vec<_> = tensors.iter().map(|tensor| tensor.stored.range()).collect();
            self.source.will_read(&ranges);
        }
    }

    /// Reads and checks every chunk of every tensor. Proves the SHA-256 of each tensor, and that
    /// all belong to the root.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`], [`Error::Cancelled`], [`Error::Read`]; of versions also
    /// [`Error::NoBase`], [`Error::DeepBase`], [`Error::WrongBase`] and [`Error::Base`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        // Small tensors are verified together, so that several are hashed side by side.
        let (shared, stored): (Vec<_>, Vec<_>) =
            self.tensors().partition(|tensor| tensor.stored.entry.shared);
        let (mut small, large): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|tensor| tensor.chunk_count() == 1);
        // Shared bytes are checked once: a small file may hold a large tensor many times.
        report(progress, shared.iter().map(Tensor::raw_len).sum())?;
        if self.source.request_cost() > 0 {
            // In the order of the file, in which the bytes come.
            self.announce(&large);
            large.iter().try_for_each(|tensor| tensor.verify(progress))?;
            self.announce(&small);
            return small
                .chunks(decode::REMOTE_GROUP)
                .try_for_each(|tensors| verify_small(tensors, progress));
        }
        // Those of one length come together: they are hashed side by side, step by step.
        small.sort_by_cached_key(|tensor| Reverse(tensor.raw_len()));
        pool::run(|| {
            for tensors in batches(&large, self.most_tensors(), LARGE_BATCH_LEN) {
                verify_large(tensors, progress)?;
            }
            let len = decode::group_len(&*self.source, self.backend, small.len());
            small.par_chunks(len).try_for_each(|tensors| verify_small(tensors, progress))
        })
    }
}

/// Cuts tensors into batches of no more than `most` of at most `len` raw bytes together; a larger
/// one is alone.
fn batches<'t, 'a>(
    mut tensors: &'t [Tensor<'a>],
    most: usize,
    len: u64,
) -> impl Iterator<Item = &'t [Tensor<'a>]> {
    std::iter::from_fn(move || {
        let mut total = 0;
        let fits = |tensor: &&Tensor<'_>| {
            let before = total;
            total += tensor.raw_len();
            before == 0 || total <= len
        };
        let count = tensors.iter().take(most).take_while(fits).count();
        let (batch, rest) = tensors.split_at(count);
        tensors = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

impl Versions for Reader {
    fn base<'a>(&'a self, tensor: &Stored<'a>) -> Result<Stored<'a>> {
        let (index, base) = tensor.entry.base.expect("a tensor that has a base");
        let digest = base.digest.unwrap_or(tensor.entry.content_digest);
        let found = &self.found[index as usize];
        let found = match found.get() {
            Some(found) => found,
            None => {
                let model = &self.index.base_models()[usize::from(base.model)];
                // That of the tensor that has the base: others may share its bytes.
                let own = self.index.header.tensors()[tensor.entry.record].name();
                let name = base.name.as_deref().unwrap_or(own);
                let (file, root) = (&*model.name, model.root);
                let depth = base.depth;
                let (version, predictor) = (tensor.info, base.predictor);
                let wanted = WantedBase {
                    file,
                    root,
                    tensor: name,
                    needed_by: own,
                    digest,
                    depth,
                    version,
                    predictor,
                };
                let finder = self.finder.as_deref();
                let place = match finder.map(|finder| finder.find(&wanted)).transpose()?.flatten() {
                    Some(place) => place,
                    None => {
                        return Err(Error::NoBase(Box::new(MissingBase {
                            tensor: tensor.info.name().into(),
                            file: file.into(),
                            base: name.into(),
                            root,
                            digest,
                            places: finder.map(FindBase::places).unwrap_or_default(),
                        })));
                    }
                };
                // One that does not fit is not kept: another may be found later.
                place.check(tensor, base, digest)?;
                found.get_or_init(|| place)
            }
        };
        found.check(tensor, base, digest)
    }
}

/// Verifies tensors on all threads. Chunks of one length come together, whosever they are.
fn verify_large(tensors: &[Tensor<'_>], progress: &dyn Progress) -> Result<()> {
    let tensors: Vec<_> = tensors.iter().map(|tensor| tensor.stored).collect();
    let plans = Plan::read_all(&tensors)?;
    let chunks = plans
        .iter()
        .flat_map(|plan| (0..plan.tensor.chunk_count()).map(move |chunk| Chunk { plan, chunk }));
    let mut chunks: Vec<_> = chunks.collect();
    chunks.sort_by_key(|chunk| Reverse(chunk.plan.chunk_len(chunk.chunk)));
    decode::verify(&chunks, progress)
}

/// Verifies tensors of one chunk each on this thread.
fn verify_small(tensors: &[Tensor<'_>], progress: &dyn Progress) -> Result<()> {
    let stored = tensors.iter().map(|tensor| tensor.stored);
    let plans = match tensors.first() {
        Some(first) if first.stored.source.request_cost() > 0 => {
            Plan::read_all(&stored.collect::<Vec<_>>())?
        }
        // Spreading so little over threads would cost more than it takes.
        _ => stored.map(Plan::read).collect::<Result<Vec<_>>>()?,
    };
    let chunks: Vec<_> = plans.iter().map(|plan| Chunk { plan, chunk: 0 }).collect();
    decode::verify_group(&chunks, progress)
}

/// Reads tensors, each into memory of its size.
fn read_batch(
    tensors: &[Tensor<'_>],
    wanted: &mut [(&str, &mut [u8])],
    progress: &dyn Progress,
) -> Result<()> {
    pool::run(|| {
        let stored: Vec<_> = tensors.iter().map(|tensor| tensor.stored).collect();
        let plans = Plan::read_all(&stored)?;
        let mut jobs = Vec::new();
        for (plan, (_, out)) in plans.iter().zip(wanted) {
            let mut rest = &mut **out;
            for chunk in 0..plan.tensor.chunk_count() {
                let (out, after) = rest.split_at_mut(plan.chunk_len(chunk));
                jobs.push(Job { plan, chunk, out });
                rest = after;
            }
        }
        // Chunks of one length come together: they are hashed side by side, step by step.
        jobs.sort_by_key(|job| Reverse(job.out.len()));
        decode::all(&mut jobs, progress)
    })
}
