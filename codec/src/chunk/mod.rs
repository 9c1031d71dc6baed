//! One chunk: raw bytes in, encoded bytes out, and back.
//!
//! The first byte names the method. [`STORED`] is followed by the raw bytes. [`PLANES`] is
//! followed by a directory of all planes, a mode each with what it needs, and then by their
//! streams. `docs/FORMAT.md` has the exact layout.

mod decoder;
mod encoder;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// The most raw bytes that one chunk may hold: 256 MiB. Half a MiB is a good size.
pub const MAX_RAW_LEN: usize = 1 << 28;

/// Bytes that the encoding of `raw_len` raw bytes never exceeds: one more than they are.
pub const fn max_encoded_len(raw_len: usize) -> usize {
    raw_len + 1
}

const STORED: u8 = 0;
const PLANES: u8 = 1;

/// Modes of a plane: the low four bits of its mode byte. The high four are
/// [`lanes_log`](crate::lanes::lanes_log) in the two lane modes, and 0 in the others.
mod mode {
    pub(super) const RAW: u8 = 0;
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const HUFFMAN_SHARED: u8 = 2;
    pub(super) const HUFFMAN_OWN: u8 = 3;
    pub(super) const LANES_SHARED: u8 = 4;
    pub(super) const LANES_OWN: u8 = 5;
}
