//! Lane rANS: many small range-ANS coders that share one byte stream.
//!
//! The state of a lane is a `u16` in `[2^8, 2^16)`, probabilities are multiples of `2^-8`, and a
//! lane renormalises by at most one byte per symbol. Symbol `i` belongs to lane `i mod N`, and the
//! lanes take their bytes from the one stream in symbol order. Every lane is encoded from
//! [`START`], so a correct decode leaves every lane there: a check that costs nothing.
//!
//! Source: J. Duda, "Asymmetric numeral systems" (arXiv:1311.2540), in the range variant; the
//! interleaving over one stream is F. Giesen, "Interleaved entropy coders" (arXiv:1402.3392).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod search;

use crate::Backend;
use crate::backend::Token;

/// The state that every lane starts encoding from, and ends decoding at.
pub const START: u16 = 1 << 8;

/// The most symbols that a [`CodingTable`] holds.
pub const MAX_SYMBOLS: usize = 32;

/// The most lanes that a vector kernel takes.
const MAX_LANES: usize = 256;

/// Frequencies add up to this.
pub const TOTAL: u16 = 1 << 8;

/// Up to 32 byte values with their frequencies, prepared for both directions. The last frequency
/// may be that of an escape, for all other values.
#[derive(Clone, Debug)]
pub struct CodingTable {
    /// How many entries there are; the arrays by rank hold zeros beyond.
    len: u8,
    /// Whether the last entry is an escape.
    escape: bool,
    symbols: [u8; MAX_SYMBOLS],
    freqs: [u16; MAX_SYMBOLS],
    /// The first slot of each entry.
    starts: [u8; MAX_SYMBOLS],
    /// `ceil(2^24 / freq)`: exact division of any `u16` by the frequency.
    reciprocals: [u32; MAX_SYMBOLS],
    /// The step of decoding for each of the 256 slots.
    slots: [Slot; 256],
    /// The entry that owns each slot.
    rank_of_slot: [u8; 256],
    /// The entry that codes each byte value: the last one for values that are not listed.
    rank_of_symbol: [u8; 256],
}

/// One step of decoding: `x = freq * (x >> 8) + bias`, and out comes the symbol of `rank`.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    freq: u16,
    /// The number of the slot within its entry.
    bias: u8,
    rank: u8,
}

impl CodingTable {
    /// A table of `symbols[i]` with frequency `freqs[i]`, slots laid out in that order. If there is
    /// one frequency more than symbols, the last one is that of the escape, for all values that are
    /// not listed.
    ///
    /// `None` unless there are 1 to 32 frequencies, each at least 1, that add up to 256, and as
    /// many symbols or one less. Symbols must differ.
    pub fn new(symbols: &[u8], freqs: &[u16]) -> Option<Self> {
        let len = freqs.len();
        let escape = len == symbols.len() + 1;
        if len == 0 || len > MAX_SYMBOLS || !(escape || len == symbols.len()) {
            return None;
        }
        let total: u32 = freqs.iter().map(|&f| u32::from(f)).sum();
        if total != u32::from(TOTAL) || freqs.contains(&0) {
            return None;
        }
        let mut table = Self {
            len: len as u8,
            escape,
            symbols: [0; MAX_SYMBOLS],
            freqs: [0; MAX_SYMBOLS],
            starts: [0; MAX_SYMBOLS],
            reciprocals: [0; MAX_SYMBOLS],
            slots: [Slot::default(); 256],
            rank_of_slot: [0; 256],
            rank_of_symbol: [len as u8 - 1; 256],
        };
        for (rank, &symbol) in symbols.iter().enumerate() {
            table.symbols[rank] = symbol;
            table.rank_of_symbol[usize::from(symbol)] = rank as u8;
        }
        let mut start = 0;
        for (rank, &freq) in freqs.iter().enumerate() {
            table.freqs[rank] = freq;
            table.starts[rank] = start as u8;
            table.reciprocals[rank] = (1u32 << 24).div_ceil(freq.into());
            table.rank_of_slot[start..][..freq.into()].fill(rank as u8);
            let slots = &mut table.slots[start..][..freq.into()];
            for (bias, slot) in (0..=u8::MAX).zip(slots) {
                *slot = Slot { freq, bias, rank: rank as u8 };
            }
            start += usize::from(freq);
        }
        Some(table)
    }

    /// The listed symbols, in slot order.
    pub fn symbols(&self) -> &[u8] {
        &self.symbols[..usize::from(self.len) - usize::from(self.escape)]
    }

    /// The frequencies, in slot order; they add up to 256. The last one is that of the escape if
    /// the table has one.
    pub fn freqs(&self) -> &[u16] {
        &self.freqs[..self.len.into()]
    }

    /// Whether there is an escape.
    pub fn has_escape(&self) -> bool {
        self.escape
    }

    /// The rank of the escape; without one, a rank that no entry has.
    fn escape_rank(&self) -> u8 {
        if self.escape { self.len - 1 } else { u8::MAX }
    }

    /// The frequencies as bytes, for kernels. None of them may be 256.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn byte_freqs(&self) -> [u8; MAX_SYMBOLS] {
        self.freqs.map(|freq| freq as u8)
    }

    /// The index of the entry that codes `symbol`; the last one for a symbol that is not listed.
    pub fn rank(&self, symbol: u8) -> usize {
        self.rank_of_symbol[symbol as usize].into()
    }
}

/// The rest of an encoded plane.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The bytes that lanes take when they renormalise.
    pub stream: &'a [u8],
    /// The symbols that escapes stand for.
    pub escaped: &'a [u8],
}

/// The part of an [`Input`] that has too few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The stream.
    Stream,
    /// The escaped symbols.
    Escaped,
}

/// Decodes `out.len()` symbols, and moves `input` past the bytes that they took.
///
/// May be called piece by piece, each going on where the one before has stopped, as long as each
/// but the last has a symbol of every lane equally often.
///
/// `states` holds one state per lane and is left at the states after the last symbol; all are
/// [`START`] if the stream was right. Any state and any input are safe.
///
/// # Errors
/// When the input ends early: it, `out` and `states` then hold unspecified values.
///
/// # Panics
/// When `states` is empty.
pub fn decode(
    backend: Backend,
    table: &CodingTable,
    states: &mut [u16],
    input: &mut Input<'_>,
    out: &mut [u8],
) -> Result<(), Exhausted> {
    decode_pieces::<1>(backend, table, states, input, &[], out)
}

/// Decodes the high bytes of 16-bit words, merges them with the `low` ones, and rotates the words
/// right by one bit: as [`decode`] and then [`planes::merge`](crate::planes::merge) of both planes
/// in [`Layout::FLOAT16`](crate::planes::Layout::FLOAT16).
///
/// # Errors
/// As [`decode`].
///
/// # Panics
/// As [`decode`], and when `out` is not twice as long as `low`.
pub fn decode_float16(
    backend: Backend,
    table: &CodingTable,
    states: &mut [u16],
    input: &mut Input<'_>,
    low: &[u8],
    out: &mut [u8],
) -> Result<(), Exhausted> {
    assert_eq!(out.len(), 2 * low.len(), "a word for each low byte");
    decode_pieces::<2>(backend, table, states, input, low, out)
}

/// Decodes into words of W bytes: the symbols alone, or merged with the low bytes.
fn decode_pieces<const W: usize>(
    backend: Backend,
    table: &CodingTable,
    states: &mut [u16],
    input: &mut Input<'_>,
    mut low: &[u8],
    mut out: &mut [u8],
) -> Result<(), Exhausted> {
    let lanes = states.len();
    let mut escapes = Escapes::new(input.escaped);
    // A kernel decodes whole rounds while the stream has a byte for each lane: over the stream,
    // then over its last bytes with zeros after them.
    if has_vectors(table, lanes) {
        let (done, taken) =
            decode_rounds::<W>(backend, table, states, input.stream, &mut escapes, low, out);
        input.stream = &input.stream[taken..];
        (low, out) = (&low[(W - 1) * done..], &mut out[W * done..]);
        if out.len() >= W * lanes && !matches!(backend.token, Token::Scalar) {
            let mut last = [0; 2 * MAX_LANES];
            last[..input.stream.len()].copy_from_slice(input.stream);
            let (done, taken) =
                decode_rounds::<W>(backend, table, states, &last, &mut escapes, low, out);
            // It stops only where a round is not whole, or beyond the bytes that there are.
            input.stream = input.stream.get(taken..).ok_or(Exhausted::Stream)?;
            (low, out) = (&low[(W - 1) * done..], &mut out[W * done..]);
        }
    }
    let taken = scalar::decode::<W>(table, states, input.stream, &mut escapes, low, out);
    input.stream = input.stream.get(taken..).ok_or(Exhausted::Stream)?;
    input.escaped = escapes.finish()?;
    Ok(())
}

/// Decodes whole rounds, a symbol of each lane, while the stream has a byte for each lane; returns
/// how many symbols that were and how many bytes they took.
fn decode_rounds<const W: usize>(
    backend: Backend,
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    match backend.token {
        Token::Scalar => (0, 0),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(token, _) => avx2::decode::<W>(token, table, states, stream, escapes, low, out),
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI and VBMI2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe {
            avx512::decode::<W>(table, states, stream, escapes, low, out)
        },
        #[cfg(target_arch = "aarch64")]
        Token::Neon(token) => neon::decode::<W>(token, table, states, stream, escapes, low, out),
    }
}

/// The rest of the escaped symbols.
pub(crate) struct Escapes<'a> {
    rest: &'a [u8],
    exhausted: bool,
}

impl<'a> Escapes<'a> {
    pub(crate) fn new(escaped: &'a [u8]) -> Self {
        Self { rest: escaped, exhausted: false }
    }

    /// Returns the symbols that were not taken.
    pub(crate) fn finish(self) -> Result<&'a [u8], Exhausted> {
        if self.exhausted { Err(Exhausted::Escaped) } else { Ok(self.rest) }
    }

    /// Takes the next symbol; zeros at the end.
    #[cold]
    pub(crate) fn next(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((&symbol, rest)) => {
                self.rest = rest;
                symbol
            }
            None => {
                self.exhausted = true;
                0
            }
        }
    }

    /// Puts the next symbols where the mask has a bit.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[cold]
    pub(crate) fn put(&mut self, mut mask: u64, symbols: &mut [u8]) {
        while mask != 0 {
            symbols[mask.trailing_zeros() as usize] = self.next();
            mask &= mask - 1;
        }
    }
}

/// Merges the high and the low byte of a 16-bit word, and rotates it right by one bit.
pub(crate) fn float16(high: u8, low: u8) -> [u8; 2] {
    u16::from_le_bytes([low, high]).rotate_right(1).to_le_bytes()
}

/// Encodes `symbols` into the end of `stream`. Returns how many bytes that took, and fills `states`
/// with the states that [`decode`] must start from. The bytes before are scratch, and hold
/// unspecified values.
///
/// A symbol that the table does not list is coded as its last entry, which should be an escape:
/// [`escaped`] collects these symbols.
///
/// # Panics
/// When `states` is empty, or when `stream` is shorter than `symbols` (a symbol takes at most one
/// byte).
pub fn encode(
    backend: Backend,
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    assert!(stream.len() >= symbols.len(), "the stream needs a byte per symbol");
    states.fill(START);
    // Backwards: first the last symbols, which are not a whole round.
    let whole = symbols.len() - symbols.len() % states.len();
    let (symbols, last) = symbols.split_at(whole);
    let used = scalar::encode(table, last, states, stream);
    let free = stream.len() - used;
    used + encode_rounds(backend, table, symbols, states, &mut stream[..free])
}

/// Encodes whole rounds, from the states as they are.
fn encode_rounds(
    backend: Backend,
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    if !has_vectors(table, states.len()) {
        return scalar::encode(table, symbols, states, stream);
    }
    match backend.token {
        Token::Scalar => scalar::encode(table, symbols, states, stream),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(token, _) => avx2::encode(token, table, symbols, states, stream),
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI and VBMI2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe { avx512::encode(table, symbols, states, stream) },
        #[cfg(target_arch = "aarch64")]
        Token::Neon(token) => neon::encode(token, table, symbols, states, stream),
    }
}

/// Copies the symbols that the last entry codes to the front of `out`, in order, and returns how
/// many these are: the symbols that escapes stand for, if that entry is an escape. The rest of
/// `out` is scratch.
///
/// # Panics
/// When `out` is shorter than `symbols` and 64 bytes more.
pub fn escaped(backend: Backend, table: &CodingTable, symbols: &[u8], out: &mut [u8]) -> usize {
    assert!(out.len() >= symbols.len() + 64, "room for every symbol and a vector");
    match backend.token {
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI and VBMI2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe { avx512::escaped(table, symbols, out) },
        // SAFETY: the token exists, so this machine has AVX2 and BMI1.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => unsafe { avx2::escaped(table, symbols, out) },
        _ => scalar::escaped(table, symbols, out),
    }
}

/// Returns whether vector kernels take these lanes and this table: its frequencies must fit a byte,
/// as they do in any table of two entries or more.
fn has_vectors(table: &CodingTable, lanes: usize) -> bool {
    matches!(lanes, 64 | 128 | MAX_LANES) && table.len > 1
}

/// Returns almost `2^16 / freq` for a `freq` of 1 to 255, and anything for 0. The product with an
/// `x` less than `256 * freq`, over `2^16`, is the quotient or one less.
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
fn reciprocal(freq: u16) -> u16 {
    ((1 << 16) / u32::from(freq.max(1))).min(u16::MAX.into()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reciprocals_divide_but_for_one() {
        for freq in 1..TOTAL {
            for x in 0..freq << 8 {
                let quotient = ((u32::from(x) * u32::from(reciprocal(freq))) >> 16) as u16;
                assert!((x - quotient * freq) / freq <= 1, "{x} by {freq}");
            }
        }
    }
}
