//! The first and the last bytes of a block.

use at1w_simd::planes::Layout;

use crate::DecodeError;
use crate::cursor::Cursor;
use crate::limits::MAX_RAW_LEN;
use crate::varint;

/// The layouts; the low bits of the first byte of a block are an index into them.
const LAYOUTS: [Layout; 7] = [
    Layout::BYTES,
    Layout::WORD16,
    Layout::WORD32,
    Layout::WORD64,
    Layout::FLOAT16,
    Layout::FLOAT32,
    Layout::FLOAT64,
];

/// Set in the first byte of a checked block.
const CHECKED: u8 = 0x80;

/// The most bytes before the chunk: the layout, and the varint of at most [`MAX_RAW_LEN`].
pub(super) const MAX_HEAD_LEN: usize = 1 + 5;
const _: () = assert!((MAX_RAW_LEN as u64) < 1 << (7 * (MAX_HEAD_LEN - 1)));

/// Bytes of a checksum.
pub(super) const CHECKSUM_LEN: usize = 4;

/// The head of a block, and its chunk.
pub(super) struct Parts<'a> {
    pub(super) layout: Layout,
    pub(super) raw_len: usize,
    pub(super) chunk: &'a [u8],
}

/// Writes the head into the front of `out`, and returns how many bytes that took.
pub(super) fn write(layout: Layout, checked: bool, raw_len: usize, out: &mut [u8]) -> usize {
    let index = LAYOUTS.iter().position(|&l| l == layout).expect("every layout is listed");
    out[0] = index as u8 | if checked { CHECKED } else { 0 };
    let (bytes, len) = varint::encoded(raw_len as u64);
    out[1..=len].copy_from_slice(&bytes[..len]);
    1 + len
}

/// Returns the checksum that ends a block with these bytes before it.
pub(super) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    crc32fast::hash(bytes).to_le_bytes()
}

/// Reads the head of a block, whose checksum was checked and taken off.
pub(super) fn read(checked: bool, encoded: &[u8]) -> Result<Parts<'_>, DecodeError> {
    let mut input = Cursor::new(encoded);
    let first = input.u8()?;
    let index = match (first & CHECKED != 0, checked) {
        (true, true) | (false, false) => usize::from(first & !CHECKED),
        _ => return Err(DecodeError::UnknownLayout(first)),
    };
    let layout = *LAYOUTS.get(index).ok_or(DecodeError::UnknownLayout(first))?;
    let claimed = input.varint()?;
    match usize::try_from(claimed) {
        Ok(raw_len) if raw_len <= MAX_RAW_LEN => Ok(Parts { layout, raw_len, chunk: input.rest() }),
        _ => Err(DecodeError::TooLong { raw_len: claimed, max: MAX_RAW_LEN }),
    }
}
