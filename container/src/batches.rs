//! All chunks of a file in batches, for work that passes over the whole file.

use std::ops::Range;

use crate::format::chunking::Chunking;
use crate::format::header::Header;

/// A chunk of a tensor of a file.
#[derive(Clone, Debug)]
pub(crate) struct ChunkRef {
    /// The index of the tensor in data order.
    pub(crate) tensor: usize,
    /// The index of the chunk in the tensor.
    pub(crate) chunk: u64,
    /// The number of chunks of the tensor.
    pub(crate) count: u64,
    /// The range of its bytes within the tensor.
    pub(crate) range: Range<u64>,
}

impl ChunkRef {
    pub(crate) fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    pub(crate) fn is_last(&self) -> bool {
        self.chunk + 1 == self.count
    }
}

/// The number of raw bytes in a batch. Two batches are in memory at a time: one is encoded or
/// decoded while the other is hashed and written.
const BATCH_LEN: u64 = 16 << 20;

/// The largest number of tensors in a batch, since each has a model in memory.
pub(crate) const MAX_TENSORS: usize = 256;

/// The same for a file whose tensors have bases: each has a model of several classes in memory, and
/// those of its bases.
pub(crate) const MAX_VERSIONS: usize = 32;

/// Returns all chunks of a file in data order, in batches of [`BATCH_LEN`] raw bytes or a bit more
/// and of at most so many chunks.
pub(crate) fn batches(header: &Header, most: usize) -> impl Iterator<Item = Vec<ChunkRef>> + '_ {
    let mut chunks = header.tensors().iter().enumerate().flat_map(|(tensor, info)| {
        let chunking = Chunking::of(info);
        let count = chunking.count();
        (0..count).map(move |chunk| ChunkRef { tensor, chunk, count, range: chunking.range(chunk) })
    });
    std::iter::from_fn(move || {
        let mut batch = Vec::new();
        let mut len = 0;
        while len < BATCH_LEN && batch.len() < most {
            let Some(chunk) = chunks.next() else { break };
            len += chunk.len() as u64;
            batch.push(chunk);
        }
        (!batch.is_empty()).then_some(batch)
    })
}
