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

/// Bytes in contexts follow, with the classes of their rows. 4 and 5 are reserved.
pub(super) const BYTE_CONTEXTS: u8 = 6;
