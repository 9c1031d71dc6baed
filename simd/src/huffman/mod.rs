//! Prefix codes of up to 11 bits, most significant bit first, in four streams at a time: while a
//! look-up of one is under way, those of the others go on.
//!
//! The kernels are plain code. Vector units have nothing for it, but AVX2 machines have shifts that
//! leave the flags alone, which makes them twice as fast: for these back-ends the same code is
//! compiled once more.

mod plain;
mod short;

pub use short::decode_short;

use crate::Backend;

/// The longest code, in bits.
pub const MAX_BITS: u32 = 11;

/// How many bits a decoder looks at: more than a code has, to find two of them more often.
const INDEX_BITS: u32 = 12;

/// Length of a code (low four bits) and the code itself (the bits above), for every symbol.
///
/// 0 for a symbol without a code.
pub type Codes = [u16; 256];

/// What a decoder looks up.
#[derive(Clone, Debug)]
pub struct Slots {
    /// For every 12 bits that may come next, the one or two symbols that they surely are. From the
    /// low byte: the bits that these take, the bits that they have when decoded (8 or 16), the first
    /// symbol, and the second one or 0.
    pairs: [u32; 1 << INDEX_BITS],
    /// Code length of each symbol.
    lengths: [u8; 256],
}

impl Slots {
    /// The slots of a prefix code in which codes of the same length rise with their symbols, and
    /// no bits are without a symbol; `None` if it is another.
    pub fn new(codes: &Codes) -> Option<Self> {
        const LEN: usize = 1 << INDEX_BITS;
        let lengths = codes.map(|code| code as u8 & 15);
        let mut first = [0; LEN];
        let mut filled = 0;
        for (symbol, &code) in (0..=u8::MAX).zip(codes) {
            let (code, length) = (usize::from(code >> 4), u32::from(code & 15));
            if length > 0 {
                let span = (length <= MAX_BITS).then_some(LEN >> length)?;
                first.get_mut(code * span..(code + 1) * span)?.fill(symbol);
                filled += span;
            }
        }
        if filled != LEN {
            return None;
        }
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

/// Bytes that [`encode`] needs for `n` symbols: those of the longest codes, and a word.
pub const fn room(n: usize) -> usize {
    (n * MAX_BITS as usize).div_ceil(8) + 8
}

/// Decodes each stream into all of its output, on the [active](Backend::active) back-end. Returns
/// how many bits of each that took: more than there are if it is too short, which is read as if
/// zeros followed.
///
/// Any streams are safe.
pub fn decode(slots: &Slots, streams: [&[u8]; 4], outs: [&mut [u8]; 4]) -> [usize; 4] {
    decode_with(Backend::active(), slots, streams, outs)
}

/// Encodes the symbols of each stream into the front of its output, on the
/// [active](Backend::active) back-end. Returns how many bytes of each that took, the last one
/// padded with zeros; what follows them is scratch.
///
/// # Panics
/// When an output is shorter than [`room`] says.
pub fn encode(codes: &Codes, symbols: [&[u8]; 4], outs: [&mut [u8]; 4]) -> [usize; 4] {
    encode_with(Backend::active(), codes, symbols, outs)
}

/// [`decode`] on a back-end of the caller's choice.
///
/// # Panics
/// If this machine lacks the back-end.
pub fn decode_with(
    backend: Backend,
    slots: &Slots,
    streams: [&[u8]; 4],
    outs: [&mut [u8]; 4],
) -> [usize; 4] {
    backend.require();
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 | Backend::Avx512 => Backend::avx2().vectorize(
            #[inline(always)]
            || plain::decode(slots, streams, outs),
        ),
        _ => plain::decode(slots, streams, outs),
    }
}

/// [`encode`] on a back-end of the caller's choice.
///
/// # Panics
/// As [`encode`], and if this machine lacks the back-end.
pub fn encode_with(
    backend: Backend,
    codes: &Codes,
    symbols: [&[u8]; 4],
    outs: [&mut [u8]; 4],
) -> [usize; 4] {
    backend.require();
    for (symbols, out) in symbols.iter().zip(&outs) {
        assert!(out.len() >= room(symbols.len()), "room for the longest codes");
    }
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 | Backend::Avx512 => Backend::avx2().vectorize(
            #[inline(always)]
            || plain::encode(codes, symbols, outs),
        ),
        _ => plain::encode(codes, symbols, outs),
    }
}
