//! One plane: symbols in, a mode with its stream out, and back.
//!
//! The mode goes into the directory of a chunk, with what else is needed to find the stream and to
//! begin with it. `docs/FORMAT.md` has the exact layout.

pub(crate) mod decoder;
pub(crate) mod encoder;
pub(crate) mod packed;
pub(crate) mod statistics;

pub(crate) use decoder::{Coded, Mode};
pub(crate) use encoder::Choice;

/// Modes: the low four bits of the mode byte. The high four are
/// [`lanes_log`](crate::lanes::lanes_log) in the two lane modes, and 0 in the others.
mod mode {
    pub(super) const RAW: u8 = 0;
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const HUFFMAN_SHARED: u8 = 2;
    pub(super) const HUFFMAN_OWN: u8 = 3;
    pub(super) const LANES_SHARED: u8 = 4;
    pub(super) const LANES_OWN: u8 = 5;
    pub(super) const PACKED: u8 = 6;
}
