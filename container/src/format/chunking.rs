//! Cutting a tensor into chunks. Dtype and shape alone decide, so that chunk states belong to
//! the content and not to how it was packed.

use std::ops::Range;

use crate::digest::BLOCK;
use crate::format::tensor_info::TensorInfo;

/// The largest number of raw bytes in a chunk. A tensor that is no longer has one chunk.
pub const MAX_CHUNK_LEN: u64 = 512 << 10;

/// The chunks of one tensor: all of one length but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunking {
    tensor_len: u64,
    chunk_len: u64,
}

impl Chunking {
    pub(crate) fn of(tensor: &TensorInfo) -> Self {
        let tensor_len = tensor.raw_len();
        let chunk_len = if tensor_len <= MAX_CHUNK_LEN {
            MAX_CHUNK_LEN
        } else {
            MAX_CHUNK_LEN / unit(tensor) * unit(tensor)
        };
        Self { tensor_len, chunk_len }
    }

    /// Returns the number of chunks; 1 for a tensor without bytes.
    pub(crate) fn count(self) -> u64 {
        self.tensor_len.div_ceil(self.chunk_len).max(1)
    }

    /// Returns the range of a chunk within the tensor, in bytes.
    pub(crate) fn range(self, chunk: u64) -> Range<u64> {
        let start = chunk * self.chunk_len;
        start..(start + self.chunk_len).min(self.tensor_len)
    }

    /// Returns the chunk that a byte of the tensor is in.
    pub(crate) fn chunk_of(self, byte: u64) -> u64 {
        byte / self.chunk_len
    }
}

/// Returns the length of the unit that chunks are made of: rows of as many dimensions as fit into a
/// chunk, repeated until they are whole SHA-256 blocks. One block where no row fits.
fn unit(tensor: &TensorInfo) -> u64 {
    let block = BLOCK as u64;
    let Some(bits) = tensor.dtype().map(|d| u64::from(d.bits())).filter(|b| b % 8 == 0) else {
        return block;
    };
    let mut row = bits / 8;
    let mut best = block;
    for &dim in tensor.shape.iter().rev() {
        // A unit whose length overflows is too long as well.
        let unit = (row / gcd(row, block)).saturating_mul(block);
        if unit > MAX_CHUNK_LEN {
            break;
        }
        best = unit;
        row = row.saturating_mul(dim);
    }
    best
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tensor_info::Kind;
    use at1w_codec::Dtype;

    fn tensor(dtype: Dtype, shape: &[u64]) -> TensorInfo {
        let bits = shape.iter().product::<u64>() * u64::from(dtype.bits());
        TensorInfo {
            name: "t".into(),
            kind: Kind::Known(dtype),
            shape: shape.into(),
            data: 0..bits / 8,
        }
    }

    #[test]
    fn chunks_end_at_rows_where_rows_fit() {
        let chunk_len = |dtype, shape: &[u64]| Chunking::of(&tensor(dtype, shape)).chunk_len;
        assert_eq!(chunk_len(Dtype::BF16, &[1536, 384]), 682 * 768);
        assert_eq!(chunk_len(Dtype::BF16, &[8, 4096, 4096]), MAX_CHUNK_LEN);
        assert_eq!(chunk_len(Dtype::F32, &[512, 512, 3, 3]), 28 * 18432);
        // Rows of 3 bytes and 64-byte blocks: every 64 rows.
        assert_eq!(chunk_len(Dtype::U8, &[1_000_000, 3]), 524_160);
        // A row that is no whole number of blocks until it is too long: the blocks win.
        assert_eq!(chunk_len(Dtype::U8, &[10, 500_001]), MAX_CHUNK_LEN);
        assert_eq!(chunk_len(Dtype::F4, &[4_000_000]), MAX_CHUNK_LEN);
    }

    #[test]
    fn chunks_cover_the_tensor_once() {
        for len in [0, 1, 100, MAX_CHUNK_LEN, MAX_CHUNK_LEN + 1, 5 * MAX_CHUNK_LEN + 77] {
            let chunking = Chunking::of(&tensor(Dtype::U8, &[len]));
            let mut end = 0;
            for chunk in 0..chunking.count() {
                let range = chunking.range(chunk);
                assert_eq!(range.start, end);
                assert!(range.is_empty() == (len == 0) && range.end - range.start <= MAX_CHUNK_LEN);
                end = range.end;
            }
            assert_eq!(end, len);
        }
    }
}
