//! Reading and checking every chunk of a file, and showing its bytes to whoever wants them.

use std::cmp::Reverse;

use rayon::prelude::*;

use super::decode::{self, Chunk, See, unseen};
use super::plan::Plan;
use super::reader::{LARGE_BATCH_LEN, Reader, batches};
use super::tensor::Tensor;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::format::tensor_info::TensorInfo;
use crate::pool;
use crate::progress::{Progress, report};

/// A chunk of a tensor that was decoded and verified.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct VerifiedChunk<'a> {
    /// The tensor.
    pub tensor: &'a TensorInfo,
    /// The offset of the bytes in the original file.
    pub offset: u64,
    /// The bytes, which are whole elements.
    pub bytes: &'a [u8],
}

impl Reader {
    /// Reads and checks every chunk of every tensor. Proves the SHA-256 of each tensor, and that
    /// all belong to the root.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`], [`Error::Cancelled`], [`Error::Read`]; of versions also
    /// [`Error::NoBase`], [`Error::DeepBase`], [`Error::WrongBase`] and [`Error::Base`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<()> {
        let (shared, stored): (Vec<_>, Vec<_>) =
            self.tensors().partition(|tensor| tensor.stored.entry.shared);
        // Shared bytes are checked once: a small file may hold a large tensor many times.
        report(progress, shared.iter().map(Tensor::raw_len).sum())?;
        self.verify_each(stored, &unseen, progress)
    }

    /// Does what [`Reader::verify`] does, and passes each chunk on to `see` once it is verified,
    /// from any thread and in no order. The chunks hold each byte of the original file after its
    /// header once; tensors that share stored bytes are decoded again for each.
    ///
    /// # Errors
    /// Those of [`Reader::verify`] and of `see`, which end the work.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # use at1w_container::{Dtype, OpenOptions, PackOptions, Reader, Staged, StagedTensor, pack};
    /// # let data: Vec<u8> = (0..24).collect();
    /// # let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[4, 6], data: &data };
    /// # let mut file = Vec::new();
    /// # pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new())?;
    /// # let reader = Reader::new(Box::new(file), &OpenOptions::new())?;
    /// let sum = AtomicU64::new(0);
    /// let add = |chunk: at1w_container::VerifiedChunk<'_>| {
    ///     let of_chunk: u64 = chunk.bytes.iter().copied().map(u64::from).sum();
    ///     sum.fetch_add(of_chunk, Ordering::Relaxed);
    ///     Ok(())
    /// };
    /// reader.verify_showing(&add, &())?;
    /// assert_eq!(sum.into_inner(), (0..24).sum::<u64>());
    /// # Ok::<(), at1w_container::Error>(())
    /// ```
    pub fn verify_showing(
        &self,
        see: &(dyn Fn(VerifiedChunk<'_>) -> Result<()> + Sync),
        progress: &dyn Progress,
    ) -> Result<()> {
        let data_start = self.header().data_start();
        let show = |&Chunk { plan, chunk, tensor }: &Chunk<'_, '_>, bytes: &[u8]| {
            let start = plan.tensor.chunking().range(chunk).start;
            see(VerifiedChunk { tensor, offset: data_start + tensor.data.start + start, bytes })
        };
        self.verify_each(self.tensors().collect(), &show, progress)
    }

    fn verify_each(
        &self,
        tensors: Vec<Tensor<'_>>,
        see: See<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        // Small tensors are verified together, so that several are hashed side by side.
        let (mut small, large): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|tensor| tensor.chunk_count() == 1);
        if self.source.request_cost() > 0 {
            // In the order of the file, in which the bytes come.
            self.announce(&large);
            large.iter().try_for_each(|tensor| tensor.verify_showing(see, progress))?;
            self.announce(&small);
            return small
                .chunks(decode::REMOTE_GROUP)
                .try_for_each(|tensors| verify_small(tensors, see, progress));
        }
        // Those of one length come together: they are hashed side by side, step by step.
        small.sort_by_cached_key(|tensor| Reverse(tensor.raw_len()));
        pool::run(|| {
            for tensors in batches(&large, self.most_tensors(), LARGE_BATCH_LEN) {
                verify_large(tensors, see, progress)?;
            }
            let len = decode::group_len(&*self.source, self.backend, small.len());
            let groups = small.par_chunks(len);
            groups.try_for_each(|tensors| verify_small(tensors, see, progress))
        })
    }
}

/// Verifies tensors on all threads. Chunks of one length come together, whosever they are.
fn verify_large(tensors: &[Tensor<'_>], see: See<'_>, progress: &dyn Progress) -> Result<()> {
    let stored: Vec<_> = tensors.iter().map(|tensor| tensor.stored).collect();
    let plans = Plan::read_all(&stored)?;
    let each = plans.iter().zip(&stored);
    let mut chunks: Vec<_> = each.flat_map(|(plan, stored)| plan.chunks(stored.info)).collect();
    chunks.sort_by_key(|chunk| Reverse(chunk.plan.chunk_len(chunk.chunk)));
    decode::verify(&chunks, see, progress)
}

/// Verifies tensors of one chunk each on this thread.
fn verify_small(tensors: &[Tensor<'_>], see: See<'_>, progress: &dyn Progress) -> Result<()> {
    let stored: Vec<_> = tensors.iter().map(|tensor| tensor.stored).collect();
    let plans = match stored.first() {
        Some(first) if first.source.request_cost() > 0 => Plan::read_all(&stored)?,
        // Spreading so little over threads would cost more than it takes.
        _ => stored.iter().map(|&stored| Plan::read(stored)).collect::<Result<Vec<_>>>()?,
    };
    let each = plans.iter().zip(&stored);
    let chunks: Vec<_> = each.flat_map(|(plan, stored)| plan.chunks(stored.info)).collect();
    decode::verify_group(&chunks, see, progress)
}
