//! Modes: the low four bits of the mode byte. The high four are the logarithm of a 64th of the
//! number of lanes in the modes that have lanes, and 0 in the others.

pub(super) const RAW: u8 = 0;
pub(super) const CONSTANT: u8 = 1;
pub(super) const HUFFMAN_SHARED: u8 = 2;
pub(super) const HUFFMAN_OWN: u8 = 3;
pub(super) const LANES_SHARED: u8 = 4;
pub(super) const LANES_OWN: u8 = 5;
pub(super) const PACKED: u8 = 6;
pub(super) const ALIAS_SHARED: u8 = 7;
