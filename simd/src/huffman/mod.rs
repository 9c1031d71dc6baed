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
    pairs: Box<[u32; LEN]>,
    /// Code length of each symbol.
    lengths: [u8; 256],
}

/// Slots of a look-up table.
const LEN: usize = 1 << INDEX_BITS;

/// A code of a symbol.
#[derive(Clone, Copy, Default)]
struct Code {
    code: usize,
    length: u8,
    symbol: u8,
}

impl Slots {
    /// Prepares a complete prefix code, in which any bits begin with exactly one code; `None` for
    /// other codes.
    pub fn new(codes: &Codes) -> Option<Self> {
        let pairs = vec![0; LEN].try_into().expect("as many");
        let mut slots = Self { pairs, lengths: [0; 256] };
        slots.set(codes).map(|()| slots)
    }

    /// Prepares another code in the same memory, as [`Slots::new`] does. Without one, there are no
    /// slots to use.
    pub fn set(&mut self, codes: &Codes) -> Option<()> {
        let Self { pairs, lengths } = self;
        *lengths = codes.map(|code| code as u8 & 15);
        // Shorter codes first: only these can be the second of two.
        let mut places = [0; 17];
        lengths.iter().for_each(|&length| places[usize::from(length) + 1] += 1);
        (1..17).for_each(|length| places[length] += places[length - 1]);
        let (mut listed, unused) = ([Code::default(); 256], places[1]);
        for (symbol, (&code, &length)) in (0..=u8::MAX).zip(codes.iter().zip(&*lengths)) {
            let place = &mut places[usize::from(length)];
            listed[*place] = Code { code: usize::from(code >> 4), length, symbol };
            *place += 1;
        }
        let listed = &listed[unused..];

        pairs.fill(0);
        let mut filled = 0;
        for &Code { code, length, symbol } in listed {
            let span = (u32::from(length) <= MAX_BITS).then_some(LEN >> length)?;
            let slots = pairs.get_mut(code * span..(code + 1) * span)?;
            slots.fill(u32::from_le_bytes([length, 8, symbol, 0]));
            for next in listed {
                // As many slots as there are ways to go on after both.
                let span = span >> next.length;
                if span == 0 {
                    break;
                }
                let both = u32::from_le_bytes([length + next.length, 16, symbol, next.symbol]);
                slots.get_mut(next.code * span..(next.code + 1) * span)?.fill(both);
            }
            filled += LEN >> length;
        }
        // Codes that fill as many slots as there are, and overlap, leave a gap elsewhere.
        (filled == LEN && !pairs.contains(&0)).then_some(())
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
