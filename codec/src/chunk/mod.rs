//! One chunk: raw bytes in, encoded bytes out, and back.
//!
//! The first byte names the method. [`STORED`] is followed by the raw bytes. [`PLANES`] is
//! followed by a directory of all planes, a mode each with what it needs, and then by their
//! streams. [`MATCHES`] is followed by sequences of what to repeat, and by what else there is; both
//! are chunks themselves. [`CONTEXTS`] is like [`PLANES`], with symbols in the place of the highest
//! plane. `docs/FORMAT.md` has the exact layout.

mod decoder;
mod encoder;
mod matches;

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
const MATCHES: u8 = 2;
const CONTEXTS: u8 = 3;
