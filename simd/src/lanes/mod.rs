//! Lane rANS: many small range-ANS coders that share one byte stream.
//!
//! The state of a lane is a `u16` in `[2^8, 2^16)`, probabilities are multiples of `2^-8`, and a
//! lane renormalises by at most one byte per symbol. Symbol `i` belongs to lane `i mod N`, and the
//! lanes take their bytes from the one stream in symbol order. Every lane is encoded from
//! [`START`], so a correct decode leaves every lane there: a check that costs nothing.
//!
//! Source: J. Duda, "Asymmetric numeral systems" (arXiv:1311.2540), in the range variant; the
//! interleaving over one stream is F. Giesen, "Interleaved entropy coders" (arXiv:1402.3392).
//!
//! The lane layout is specified in `docs/FORMAT.md`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod search;

use crate::Backend;

/// The state that every lane starts encoding from, and ends decoding at.
pub const START: u16 = 1 << 8;

/// The most symbols that a [`Table`] holds.
pub const MAX_SYMBOLS: usize = 32;

/// The most lanes that a vector kernel takes.
const MAX_LANES: usize = 256;

/// Frequencies add up to this.
pub const TOTAL: u16 = 1 << 8;

/// A model: up to 32 byte values and their frequencies, prepared for both directions.
#[derive(Clone, Debug)]
pub struct Table {
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
    /// What decoding a slot takes, for each of the 256.
    slots: [Slot; 256],
    /// Which entry owns each slot.
    rank_of_slot: [u8; 256],
    /// Which entry codes each byte value: the last one for those that are not listed.
    rank_of_symbol: [u8; 256],
}

/// One step of decoding: `x = freq * (x >> 8) + bias`, and out comes the symbol of `rank`.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    freq: u16,
    /// The number of the slot among those of its entry.
    bias: u8,
    rank: u8,
}

impl Table {
    /// A table of `symbols[i]` with frequency `freqs[i]`, slots laid out in that order. A frequency
    /// more than symbols is that of the escape, for all values that are not listed.
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
    /// there is one.
    pub fn freqs(&self) -> &[u16] {
        &self.freqs[..self.len.into()]
    }

    /// Whether there is an escape.
    pub fn has_escape(&self) -> bool {
        self.escape
    }

    /// The rank of the escape; without one, what is the rank of nothing.
    fn escape_rank(&self) -> u8 {
        if self.escape { self.len - 1 } else { u8::MAX }
    }

    /// The frequencies as bytes, for kernels: of a table where none is 256.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn byte_freqs(&self) -> [u8; MAX_SYMBOLS] {
        self.freqs.map(|freq| freq as u8)
    }

    /// The index of the entry that codes `symbol`; the last one for a symbol that is not listed.
    pub fn rank(&self, symbol: u8) -> usize {
        self.rank_of_symbol[symbol as usize].into()
    }
}

/// What is left of a plane to decode.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The bytes that lanes take when they renormalise.
    pub stream: &'a [u8],
    /// The symbols that escapes stand for.
    pub escaped: &'a [u8],
}

/// What an [`Input`] has too few bytes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The stream.
    Stream,
    /// The escaped symbols.
    Escaped,
}

/// Decodes `out.len()` symbols, on the [active](Backend::active) back-end, and moves `input` past
/// what they took.
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
    table: &Table,
    states: &mut [u16],
    input: &mut Input<'_>,
    out: &mut [u8],
) -> Result<(), Exhausted> {
    decode_with(Backend::active(), table, states, input, out)
}

/// [`decode`] of the high bytes of 16-bit words, merged as they come with the `low` ones and the
/// words rotated right by one bit: what [`planes::merge`](crate::planes::merge) makes of both
/// planes in [`Layout::FLOAT16`](crate::planes::Layout::FLOAT16).
///
/// # Errors
/// As [`decode`].
///
/// # Panics
/// As [`decode`], and when `out` is not twice as long as `low`.
pub fn decode_float16(
    table: &Table,
    states: &mut [u16],
    input: &mut Input<'_>,
    low: &[u8],
    out: &mut [u8],
) -> Result<(), Exhausted> {
    decode_float16_with(Backend::active(), table, states, input, low, out)
}

/// Encodes `symbols` into the end of `stream`, on the [active](Backend::active) back-end. Returns
/// how many bytes that took, and fills `states` with the states that [`decode`] must start from.
/// The bytes before are scratch, and hold unspecified values.
///
/// A symbol that the table does not list is coded as its last entry, which should be an escape:
/// [`escaped`] collects these symbols.
///
/// # Panics
/// When `states` is empty, or when `stream` is shorter than `symbols` (a symbol takes at most one
/// byte).
pub fn encode(table: &Table, symbols: &[u8], states: &mut [u16], stream: &mut [u8]) -> usize {
    encode_with(Backend::active(), table, symbols, states, stream)
}

/// [`decode`] on a back-end of the caller's choice.
///
/// # Errors
/// As [`decode`].
///
/// # Panics
/// As [`decode`], and if this machine lacks the back-end.
pub fn decode_with(
    backend: Backend,
    table: &Table,
    states: &mut [u16],
    input: &mut Input<'_>,
    out: &mut [u8],
) -> Result<(), Exhausted> {
    decode_pieces::<1>(backend, table, states, input, &[], out)
}

/// [`decode_float16`] on a back-end of the caller's choice.
///
/// # Errors
/// As [`decode`].
///
/// # Panics
/// As [`decode_float16`], and if this machine lacks the back-end.
pub fn decode_float16_with(
    backend: Backend,
    table: &Table,
    states: &mut [u16],
    input: &mut Input<'_>,
    low: &[u8],
    out: &mut [u8],
) -> Result<(), Exhausted> {
    assert_eq!(out.len(), 2 * low.len(), "a word for each low byte");
    decode_pieces::<2>(backend, table, states, input, low, out)
}

/// Decodes into words of W bytes: those of the symbols, or with the low bytes.
fn decode_pieces<const W: usize>(
    backend: Backend,
    table: &Table,
    states: &mut [u16],
    input: &mut Input<'_>,
    mut low: &[u8],
    mut out: &mut [u8],
) -> Result<(), Exhausted> {
    backend.require();
    let lanes = states.len();
    let mut escapes = Escapes { rest: input.escaped, exhausted: false };
    // A kernel decodes whole rounds while the stream has a byte for each lane: over the stream,
    // then over its last bytes with zeros after them.
    if has_vectors(table, lanes) {
        let (done, taken) =
            decode_rounds::<W>(backend, table, states, input.stream, &mut escapes, low, out);
        input.stream = &input.stream[taken..];
        (low, out) = (&low[(W - 1) * done..], &mut out[W * done..]);
        if out.len() >= W * lanes && backend != Backend::Scalar {
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
    input.escaped = escapes.rest;
    if escapes.exhausted { Err(Exhausted::Escaped) } else { Ok(()) }
}

/// Decodes whole rounds, a symbol of each lane, while the stream has a byte for each lane; returns
/// how many symbols that were and how many bytes they took.
fn decode_rounds<const W: usize>(
    backend: Backend,
    table: &Table,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    match backend {
        Backend::Scalar => (0, 0),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => {
            avx2::decode::<W>(Backend::avx2(), table, states, stream, escapes, low, out)
        }
        // SAFETY: the back-end is available: this machine has AVX-512 with VBMI and VBMI2.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => unsafe { avx512::decode::<W>(table, states, stream, escapes, low, out) },
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => {
            neon::decode::<W>(Backend::neon(), table, states, stream, escapes, low, out)
        }
        #[allow(unreachable_patterns, reason = "depends on the target")]
        missing => missing.unavailable(),
    }
}

/// The escaped symbols that are left.
struct Escapes<'a> {
    rest: &'a [u8],
    exhausted: bool,
}

impl Escapes<'_> {
    /// The next one; zeros at the end.
    #[cold]
    fn next(&mut self) -> u8 {
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

    /// Puts the next ones where the mask has a bit.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[cold]
    fn put(&mut self, mut mask: u64, symbols: &mut [u8]) {
        while mask != 0 {
            symbols[mask.trailing_zeros() as usize] = self.next();
            mask &= mask - 1;
        }
    }
}

/// Words of 16-bit floats, from their exponent and the other bits rotated left.
fn float16(high: u8, low: u8) -> [u8; 2] {
    u16::from_le_bytes([low, high]).rotate_right(1).to_le_bytes()
}

/// [`encode`] on a back-end of the caller's choice.
///
/// # Panics
/// As [`encode`], and if this machine lacks the back-end.
pub fn encode_with(
    backend: Backend,
    table: &Table,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    backend.require();
    assert!(stream.len() >= symbols.len(), "the stream needs a byte per symbol");
    states.fill(START);
    // Backwards: first the last symbols, which are not a whole round.
    let whole = symbols.len() - symbols.len() % states.len();
    let (symbols, last) = symbols.split_at(whole);
    let used = scalar::encode(table, last, states, stream);
    let free = stream.len() - used;
    used + encode_rounds(backend, table, symbols, states, &mut stream[..free])
}

/// Encodes whole rounds, from the states as they are, on a back-end that is available.
fn encode_rounds(
    backend: Backend,
    table: &Table,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    if !has_vectors(table, states.len()) {
        return scalar::encode(table, symbols, states, stream);
    }
    match backend {
        Backend::Scalar => scalar::encode(table, symbols, states, stream),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => avx2::encode(Backend::avx2(), table, symbols, states, stream),
        // SAFETY: the back-end is available: this machine has AVX-512 with VBMI and VBMI2.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => unsafe { avx512::encode(table, symbols, states, stream) },
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => neon::encode(Backend::neon(), table, symbols, states, stream),
        #[allow(unreachable_patterns, reason = "depends on the target")]
        missing => missing.unavailable(),
    }
}

/// Copies the symbols that the last entry codes to the front of `out`, in order, on the
/// [active](Backend::active) back-end, and returns how many these are: where that entry is an
/// escape, what it stands for. The rest of `out` is scratch.
///
/// # Panics
/// When `out` is shorter than `symbols` and 64 bytes more.
pub fn escaped(table: &Table, symbols: &[u8], out: &mut [u8]) -> usize {
    escaped_with(Backend::active(), table, symbols, out)
}

/// [`escaped`] on a back-end of the caller's choice.
///
/// # Panics
/// As [`escaped`], and if this machine lacks the back-end.
pub fn escaped_with(backend: Backend, table: &Table, symbols: &[u8], out: &mut [u8]) -> usize {
    backend.require();
    assert!(out.len() >= symbols.len() + 64, "room for every symbol and a vector");
    match backend {
        // SAFETY: `require` has found AVX-512 with VBMI and VBMI2 on this machine.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => unsafe { avx512::escaped(table, symbols, out) },
        _ => scalar::escaped(table, symbols, out),
    }
}

/// Whether vector kernels take these lanes and this table, each of whose frequencies must fit a
/// byte.
fn has_vectors(table: &Table, lanes: usize) -> bool {
    matches!(lanes, 64 | 128 | MAX_LANES) && table.len > 1
}

/// Almost `2^16 / freq`, for a `freq` of 1 to 255, and anything for 0: for an `x` less than `256 * freq`, the product
/// over `2^16` is the quotient or one less.
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
