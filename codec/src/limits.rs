//! How large a chunk may be, raw and encoded.

use at1w_simd::planes::Layout;

use crate::{EncodeError, Position};

/// The most raw bytes that one chunk may hold: 256 MiB. Half a MiB is a good size.
pub const MAX_RAW_LEN: usize = 1 << 28;

/// The most planes that a layout has.
pub(crate) const MAX_PLANES: usize = 8;

/// Returns a length that the encoded chunk never exceeds: one more than the raw bytes.
pub(crate) const fn max_chunk_len(raw_len: usize) -> usize {
    raw_len + 1
}

/// Checks that `raw` can be the chunk at `position`.
pub(crate) fn check_raw(layout: Layout, position: Position, raw: &[u8]) -> Result<(), EncodeError> {
    let (len, width) = (raw.len(), layout.width());
    if len > MAX_RAW_LEN {
        return Err(EncodeError::TooLong { len, max: MAX_RAW_LEN });
    }
    if len % width != 0 {
        return Err(EncodeError::Ragged { len, width });
    }
    if !position.has_room(len / width) {
        return Err(EncodeError::Position { elements: position.elements() });
    }
    Ok(())
}
