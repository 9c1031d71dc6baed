//! From raw bytes to blocks.

use bytemuck::Pod;

use super::head::{self, CHECKSUM_LEN, MAX_HEAD_LEN};
use crate::limits::{check_raw, max_chunk_len};
use crate::model::Model;
use crate::{Dtype, EncodeError, Encoder, Level, Position};

/// An encoder of blocks. It keeps its working memory from one block to the next, and then allocates
/// no more: reuse it.
///
/// ```
/// use at1w_codec::block::BlockEncoder;
/// use at1w_codec::{Dtype, Level};
///
/// // Pages of fixed size: a value that does not fit goes elsewhere.
/// let mut encoder = BlockEncoder::new(Level::Fast);
/// let mut page = [0; 256];
/// assert_eq!(encoder.encode_if_fits(Dtype::BF16, &[0; 1000], &mut page)?, Some(8));
/// # Ok::<(), at1w_codec::EncodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BlockEncoder {
    encoder: Encoder,
    checked: bool,
    /// Room for a block that may not fit.
    room: Vec<u8>,
}

impl BlockEncoder {
    /// Makes an encoder of bare blocks.
    pub fn new(level: Level) -> Self {
        Self { encoder: Encoder::new(level), checked: false, room: Vec::new() }
    }

    /// Makes an encoder of checked blocks.
    pub fn checked(level: Level) -> Self {
        Self { checked: true, ..Self::new(level) }
    }

    /// Returns a length that the block of `raw_len` raw bytes never exceeds, bare or checked.
    pub const fn max_encoded_len(raw_len: usize) -> usize {
        MAX_HEAD_LEN + max_chunk_len(raw_len) + CHECKSUM_LEN
    }

    /// Encodes `raw`, elements of `dtype`, into the front of `out`; returns how many bytes that
    /// took.
    ///
    /// # Errors
    /// Only for lengths: see [`EncodeError`].
    pub fn encode(
        &mut self,
        dtype: Dtype,
        raw: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let layout = dtype.layout();
        check_raw(layout, Position::START, raw)?;
        let needed = Self::max_encoded_len(raw.len());
        if out.len() < needed {
            return Err(EncodeError::OutputTooSmall { len: out.len(), needed });
        }
        let mut len = head::write(layout, self.checked, raw.len(), out);
        let model = Model::plain(layout);
        len += self.encoder.encode(&model, Position::START, raw, &mut out[len..])?;
        if self.checked {
            let checksum = head::checksum(&out[..len]);
            out[len..][..CHECKSUM_LEN].copy_from_slice(&checksum);
            len += CHECKSUM_LEN;
        }
        Ok(len)
    }

    /// Encodes `raw` as [`BlockEncoder::encode`] does, and appends it to `out`. Returns how many
    /// bytes that took.
    ///
    /// # Errors
    /// As [`BlockEncoder::encode`]; `out` is then as it was.
    pub fn encode_into(
        &mut self,
        dtype: Dtype,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        check_raw(dtype.layout(), Position::START, raw)?;
        let start = out.len();
        out.resize(start + Self::max_encoded_len(raw.len()), 0);
        let encoded = self.encode(dtype, raw, &mut out[start..]);
        out.truncate(start + encoded.unwrap_or(0));
        encoded
    }

    /// Encodes `raw` as [`BlockEncoder::encode`] does, if that fits into `out`. Returns how many
    /// bytes that took; `None` if it does not fit, and then `out` is as it was.
    ///
    /// # Errors
    /// As [`BlockEncoder::encode`], except that no buffer is too small.
    pub fn encode_if_fits(
        &mut self,
        dtype: Dtype,
        raw: &[u8],
        out: &mut [u8],
    ) -> Result<Option<usize>, EncodeError> {
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        let encoded = self.encode_into(dtype, raw, &mut room);
        let fits = encoded.map(|len| {
            out.get_mut(..len)?.copy_from_slice(&room);
            Some(len)
        });
        self.room = room;
        fits
    }

    /// Encodes values as [`BlockEncoder::encode_into`] does. They must have the size of an element
    /// of `dtype`: `u16` goes with BF16 as well as with U16.
    ///
    /// # Errors
    /// As [`BlockEncoder::encode`], and [`EncodeError::WrongElement`].
    pub fn encode_slice_into<T: Pod>(
        &mut self,
        dtype: Dtype,
        values: &[T],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        let (len, width) = (size_of::<T>(), dtype.layout().width());
        if len != width {
            return Err(EncodeError::WrongElement { len, width });
        }
        self.encode_into(dtype, bytemuck::cast_slice(values), out)
    }
}
