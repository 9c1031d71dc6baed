//! Prefix codes of up to 11 bits, most significant bit first, in four streams at a time: look-ups
//! of one stream do not wait for those of the others.
//!
//! The kernels are plain code, since vector units have nothing for it. Machines with AVX2 also have
//! shifts that leave the flags alone, which make the same code twice as fast: it is compiled once
//! more for their back-ends.

mod plain;
mod short;

pub use short::decode_short;

use crate::Backend;

/// The longest code, in bits.
pub const MAX_BITS: u32 = 11;

/// How many bits a decoder looks at: more than a code has, to find two of them more often.
const INDEX_BITS: u32 = 12;

/// For every symbol the length of its code (low four bits) and the code itself (the bits above): 0
/// without a code.
pub type Codes = [u16; 256];

/// The look-up table of a decoder.
#[derive(Clone, Debug)]
pub struct Slots {
    /// For every 12 bits that may come next, the one or two symbols that they begin with. From the
    /// low byte: the bits of their codes, the bits of the symbols themselves (8 or 16), the first
    /// symbol, and the second one or 0.
    pairs: [u32; 1 << INDEX_BITS],
    /// Code length of each symbol.
    lengths: [u8; 256],
}

impl Slots {
    /// Prepares a complete prefix code, in which any bits begin with exactly one code; `None` for
    /// other codes.
    pub fn new(codes: &Codes) -> Option<Self> {
        const LEN: usize = 1 << INDEX_BITS;
        const NONE: u16 = u16::MAX;
        let lengths = codes.map(|code| code as u8 & 15);
        let mut first = [NONE; LEN];
        let mut filled = 0;
        for (symbol, &code) in (0..).zip(codes) {
            let (code, length) = (usize::from(code >> 4), u32::from(code & 15));
            if length > 0 {
                let span = (length <= MAX_BITS).then_some(LEN >> length)?;
                first.get_mut(code * span..(code + 1) * span)?.fill(symbol);
                filled += span;
            }
        }
        // Codes that fill as many slots as there are, and overlap, leave a gap elsewhere.
        if filled != LEN || first.contains(&NONE) {
            return None;
        }
        let first = first.map(|symbol| symbol as u8);
        let mut pairs = [0; LEN];
        for (bits, pair) in pairs.iter_mut().enumerate() {
            let symbol = first[bits];
            let length = lengths[usize::from(symbol)];
            let next = first[bits << length & (LEN - 1)];
            let both = length + lengths[usize::from(next)];
            *pair = u32::from_le_bytes(if u32::from(both) <= INDEX_BITS {
                [both, 16, symbol, next]
            } else {
                [length, 8, symbol, 0]
            });
        }
        Some(Self { pairs, lengths })
    }
}

/// Returns how many bytes [`encode`] needs for `n` symbols: those of the longest codes, and a word.
pub const fn room(n: usize) -> usize {
    (n * MAX_BITS as usize).div_ceil(8) + 8
}

/// Decodes each stream into all of its output. Returns how many bits of each stream that took: more
/// than there are if it is too short, since zeros are read after its end.
///
/// Any streams are safe.
pub fn decode(
    backend: Backend,
    slots: &Slots,
    streams: [&[u8]; 4],
    outs: [&mut [u8]; 4],
) -> [usize; 4] {
    backend.with_scalar_extensions(
        #[inline(always)]
        || plain::decode(slots, streams, outs),
    )
}

/// Encodes the symbols of each stream into the front of its output. Returns how many bytes of each
/// output that took, the last one padded with zeros; the bytes after them are scratch.
///
/// # Panics
/// When an output is shorter than [`room`] says.
pub fn encode(
    backend: Backend,
    codes: &Codes,
    symbols: [&[u8]; 4],
    outs: [&mut [u8]; 4],
) -> [usize; 4] {
    for (symbols, out) in symbols.iter().zip(&outs) {
        assert!(out.len() >= room(symbols.len()), "room for the longest codes");
    }
    backend.with_scalar_extensions(
        #[inline(always)]
        || plain::encode(codes, symbols, outs),
    )
}
