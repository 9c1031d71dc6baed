//! Methods: the first byte of a chunk.

/// The raw bytes follow.
pub(super) const STORED: u8 = 0;

/// A directory of all planes follows, a mode each with the fields that it needs, and then their
/// streams.
pub(super) const PLANES: u8 = 1;

/// Sequences of matches follow, and the literals; both are chunks themselves.
pub(super) const MATCHES: u8 = 2;

/// As [`PLANES`], with symbols in the place of the highest plane.
pub(super) const CONTEXTS: u8 = 3;

/// The bytes of the base; nothing follows.
pub(super) const SAME: u8 = 4;

/// The planes of differences to the base follow.
pub(super) const DIFFERENCE: u8 = 5;

/// Bytes in contexts follow, with the classes of their rows.
pub(super) const BYTE_CONTEXTS: u8 = 6;
