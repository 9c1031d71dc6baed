//! A chunk that stands alone: it knows its layout and its raw length, and needs no model beside
//! it. What a storage engine keeps when its values are independent of each other.
//!
//! The encoding is a byte for the element layout, the raw length as a varint, and the chunk,
//! encoded with the plain model. A block has no checksum: stores have their own.

use at1w_simd::planes::Layout;

use crate::{DecodeError, Decoder, Dtype, EncodeError, Encoder, Model, chunk, varint};

/// The layouts; the first byte of a block is an index into them.
const LAYOUTS: [Layout; 7] = [
    Layout::BYTES,
    Layout::WORD16,
    Layout::WORD32,
    Layout::WORD64,
    Layout::FLOAT16,
    Layout::FLOAT32,
    Layout::FLOAT64,
];

/// Bytes that the block of `raw_len` raw bytes never exceeds.
pub const fn max_encoded_len(raw_len: usize) -> usize {
    1 + varint::MAX_LEN + chunk::max_encoded_len(raw_len)
}

/// Encodes `raw`, elements of `dtype`, into the front of `out`; returns how many bytes that took.
///
/// # Errors
/// Only for lengths: see [`EncodeError`].
pub fn encode(
    encoder: &mut Encoder,
    dtype: Dtype,
    raw: &[u8],
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let needed = max_encoded_len(raw.len());
    if out.len() < needed {
        return Err(EncodeError::OutputTooSmall { len: out.len(), needed });
    }
    let layout = dtype.layout();
    let index = LAYOUTS.iter().position(|&l| l == layout).expect("every layout is listed");
    let mut head = vec![index as u8];
    varint::write(raw.len() as u64, &mut head);
    out[..head.len()].copy_from_slice(&head);
    let len = encoder.encode(&Model::plain(layout), 0, raw, &mut out[head.len()..])?;
    Ok(head.len() + len)
}

/// How many raw bytes a block decodes to, told from its first bytes.
///
/// The number is what the block claims, at most [`chunk::MAX_RAW_LEN`]: a caller who does not
/// trust the block should have a limit of its own before it allocates.
///
/// # Errors
/// [`DecodeError::Truncated`], [`DecodeError::UnknownLayout`], [`DecodeError::Varint`], and
/// [`DecodeError::WrongLength`] beyond the maximum.
pub fn raw_len(encoded: &[u8]) -> Result<usize, DecodeError> {
    Ok(read_head(encoded)?.1)
}

/// Decodes a whole block into all of `raw`, [`raw_len`] bytes.
///
/// # Errors
/// As [`Decoder::decode`]; [`DecodeError::WrongLength`] when `raw` has another size.
pub fn decode(decoder: &mut Decoder, encoded: &[u8], raw: &mut [u8]) -> Result<(), DecodeError> {
    let (layout, raw_len, chunk) = read_head(encoded)?;
    if raw_len != raw.len() {
        return Err(DecodeError::WrongLength { raw_len: raw_len as u64, len: raw.len() });
    }
    decoder.decode(&Model::plain(layout), 0, chunk, raw)
}

fn read_head(encoded: &[u8]) -> Result<(Layout, usize, &[u8]), DecodeError> {
    let (&index, mut rest) = encoded.split_first().ok_or(DecodeError::Truncated)?;
    let layout = *LAYOUTS.get(usize::from(index)).ok_or(DecodeError::UnknownLayout(index))?;
    let claimed = varint::read(&mut rest)?;
    match usize::try_from(claimed) {
        Ok(len) if len <= chunk::MAX_RAW_LEN => Ok((layout, len, rest)),
        _ => Err(DecodeError::WrongLength { raw_len: claimed, len: chunk::MAX_RAW_LEN }),
    }
}
