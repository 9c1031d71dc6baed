//! From blocks to raw bytes.

use bytemuck::Pod;

use super::head::{self, CHECKSUM_LEN, Parts};
use crate::model::Model;
use crate::{DecodeError, Decoder, Position};

/// A decoder of blocks, either of bare or of checked ones: it refuses the others. It keeps its
/// working memory from one block to the next, and then allocates no more: reuse it.
///
/// ```
/// use at1w_codec::block::{BlockDecoder, BlockEncoder};
/// use at1w_codec::{Dtype, Level};
///
/// let mut block = Vec::new();
/// BlockEncoder::new(Level::Fast).encode_into(Dtype::U8, b"aaaaaaaaaaaaaaab", &mut block)?;
///
/// // The block itself says how many bytes it needs: allow no more than a value can have.
/// let mut raw = Vec::new();
/// BlockDecoder::new().decode_into(&block, 1 << 20, &mut raw)?;
/// assert_eq!(raw, b"aaaaaaaaaaaaaaab");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct BlockDecoder {
    decoder: Decoder,
    checked: bool,
}

impl BlockDecoder {
    /// Makes a decoder of bare blocks. It does not notice all damage: see [`crate::block`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a decoder of checked blocks.
    pub fn checked() -> Self {
        Self { checked: true, ..Self::new() }
    }

    /// Returns how many raw bytes a block says that it has. Its first bytes are enough, and nothing
    /// else of it is looked at, not even the checksum.
    ///
    /// The number is at most [`MAX_RAW_LEN`](crate::MAX_RAW_LEN): a caller who does not trust the
    /// block should have a limit of its own before it allocates.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::UnknownLayout`], [`DecodeError::Varint`] and
    /// [`DecodeError::TooLong`].
    pub fn raw_len(&self, encoded: &[u8]) -> Result<usize, DecodeError> {
        Ok(head::read(self.checked, encoded)?.raw_len)
    }

    /// Decodes a whole block into all of `raw`, which has its [raw length](BlockDecoder::raw_len).
    ///
    /// # Errors
    /// As [`Decoder::decode`], [`DecodeError::Checksum`], and [`DecodeError::WrongLength`] when
    /// `raw` has another size. `raw` is then unspecified.
    pub fn decode(&mut self, encoded: &[u8], raw: &mut [u8]) -> Result<(), DecodeError> {
        let parts = self.parts(encoded)?;
        self.decode_parts(parts, raw)
    }

    /// Decodes a whole block, and appends its raw bytes to `out`, of which there may be `max_len`.
    ///
    /// # Errors
    /// As [`BlockDecoder::decode`], and [`DecodeError::TooLong`]; `out` then has the bytes that it
    /// had. A checked block is allocated for only when its checksum matches.
    pub fn decode_into(
        &mut self,
        encoded: &[u8],
        max_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let parts = self.parts(encoded)?;
        if parts.raw_len > max_len {
            return Err(DecodeError::TooLong { raw_len: parts.raw_len as u64, max: max_len });
        }
        let start = out.len();
        out.resize(start + parts.raw_len, 0);
        let decoded = self.decode_parts(parts, &mut out[start..]);
        decoded.inspect_err(|_| out.truncate(start))
    }

    /// Decodes a whole block into all of `values`, as [`BlockDecoder::decode`] does. They must have
    /// the size of an element of the block.
    ///
    /// # Errors
    /// As [`BlockDecoder::decode`], and [`DecodeError::WrongElement`].
    pub fn decode_slice<T: Pod>(
        &mut self,
        encoded: &[u8],
        values: &mut [T],
    ) -> Result<(), DecodeError> {
        let parts = self.parts(encoded)?;
        let (len, width) = (size_of::<T>(), parts.layout.width());
        if len != width {
            return Err(DecodeError::WrongElement { len, width });
        }
        self.decode_parts(parts, bytemuck::cast_slice_mut(values))
    }

    /// Takes a block apart, and checks its checksum first.
    fn parts<'a>(&self, mut encoded: &'a [u8]) -> Result<Parts<'a>, DecodeError> {
        if self.checked {
            let (bytes, stored) =
                encoded.split_last_chunk::<CHECKSUM_LEN>().ok_or(DecodeError::Truncated)?;
            if head::checksum(bytes) != *stored {
                return Err(DecodeError::Checksum);
            }
            encoded = bytes;
        }
        head::read(self.checked, encoded)
    }

    fn decode_parts(&mut self, parts: Parts<'_>, raw: &mut [u8]) -> Result<(), DecodeError> {
        let Parts { layout, raw_len, chunk } = parts;
        if raw_len != raw.len() {
            return Err(DecodeError::WrongLength { raw_len: raw_len as u64, len: raw.len() });
        }
        self.decoder.decode(&Model::plain(layout), Position::START, chunk, raw)
    }
}
