//! One plane: symbols in, a mode with its stream out, and back.
//!
//! The mode goes into the directory of a chunk, with what else is needed to find the stream and to
//! begin with it. `docs/FORMAT.md` has the exact layout.

pub(crate) mod decoder;
pub(crate) mod encoder;
pub(crate) mod packed;
pub(crate) mod statistics;

use crate::{DecodeError, default_backend};
use encoder::Stream;

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

/// Appends a plane that stands alone, of a model: its directory entry and its stream.
pub(crate) fn write(plane: &[u8], out: &mut Vec<u8>) {
    let (mut streams, mut scratch) = (Vec::new(), Vec::new());
    let backend = default_backend();
    match Choice::best(backend, None, plane).encode(backend, plane, out, &mut streams, &mut scratch)
    {
        Stream::Raw(plane) => out.extend_from_slice(plane),
        Stream::Coded(_) => out.extend(streams),
    }
}

/// Reads `n` symbols that [`write`] wrote, and moves `input` past them.
pub(crate) fn read(n: usize, input: &mut &[u8]) -> Result<Vec<u8>, DecodeError> {
    let coded = Mode::read(0, n, input)?.open(0, n, None, input)?;
    let mut plane = vec![0; n];
    coded.decode(default_backend(), &mut plane)?;
    Ok(plane)
}
