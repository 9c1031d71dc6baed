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
pub const MAX_SYMBOLS: usize = 16;

/// The most lanes that a vector kernel takes.
const MAX_LANES: usize = 256;

/// Frequencies add up to this.
pub const TOTAL: u16 = 1 << 8;

/// A model: up to 16 byte values and their frequencies, prepared for both directions.
#[derive(Clone, Debug)]
pub struct Table {
    entries: [Entry; MAX_SYMBOLS],
    len: u8,
    /// What decoding a slot takes, for each of the 256.
    slots: [Slot; 256],
    /// Which entry owns each slot.
    rank_of_slot: [u8; 256],
    /// Which entry codes each byte value. [`Table::new`] leaves values without one at the last
    /// entry, which is where an escape stands.
    rank_of_symbol: [u8; 256],
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    symbol: u8,
    freq: u16,
    start: u16,
    /// `ceil(2^24 / freq)`: exact division of any `u16` by `freq`.
    reciprocal: u32,
}

/// One step of decoding: `x = freq * (x >> 8) + bias`, and out comes `symbol`.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    freq: u16,
    /// The number of the slot among those of its entry.
    bias: u8,
    symbol: u8,
}

impl Table {
    /// A table of `symbols[i]` with frequency `freqs[i]`, slots laid out in that order.
    ///
    /// `None` unless both have the same length of 1 to 16, every frequency is at least 1 and they
    /// add up to 256. Symbols must differ; the last may stand for every value that is not listed.
    pub fn new(symbols: &[u8], freqs: &[u16]) -> Option<Self> {
        let len = symbols.len();
        if len == 0 || len > MAX_SYMBOLS || freqs.len() != len {
            return None;
        }
        let total: u32 = freqs.iter().map(|&f| u32::from(f)).sum();
        if total != u32::from(TOTAL) || freqs.contains(&0) {
            return None;
        }
        let mut table = Self {
            entries: [Entry::default(); MAX_SYMBOLS],
            len: len as u8,
            slots: [Slot::default(); 256],
            rank_of_slot: [0; 256],
            rank_of_symbol: [len as u8 - 1; 256],
        };
        let mut start = 0;
        for (rank, (&symbol, &freq)) in symbols.iter().zip(freqs).enumerate() {
            table.entries[rank] =
                Entry { symbol, freq, start, reciprocal: (1u32 << 24).div_ceil(freq.into()) };
            table.rank_of_slot[start as usize..][..freq as usize].fill(rank as u8);
            let slots = &mut table.slots[start as usize..][..freq as usize];
            for (bias, slot) in (0..=u8::MAX).zip(slots) {
                *slot = Slot { freq, bias, symbol };
            }
            table.rank_of_symbol[symbol as usize] = rank as u8;
            start += freq;
        }
        Some(table)
    }

    /// The symbols, in slot order.
    pub fn symbols(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        self.entries[..self.len as usize].iter().map(|e| e.symbol)
    }

    /// The frequencies, in slot order; they add up to 256.
    pub fn freqs(&self) -> impl ExactSizeIterator<Item = u16> + '_ {
        self.entries[..self.len as usize].iter().map(|e| e.freq)
    }

    /// The index of the entry that codes `symbol`; the last one for a symbol that is not listed.
    pub fn rank(&self, symbol: u8) -> usize {
        self.rank_of_symbol[symbol as usize].into()
    }
}

/// Decodes `out.len()` symbols from `stream`, on the [active](Backend::active) back-end. Returns
/// how many bytes it read, or `None` when the stream is too short: `out` and `states` then hold
/// unspecified values.
///
/// `states` holds one state per lane and is left at the states after the last symbol; all are
/// [`START`] if the stream was right. Any state and any stream are safe input.
///
/// # Panics
/// When `states` is empty.
pub fn decode(table: &Table, states: &mut [u16], stream: &[u8], out: &mut [u8]) -> Option<usize> {
    decode_with(Backend::active(), table, states, stream, out)
}

/// Encodes `symbols` into the end of `stream`, on the [active](Backend::active) back-end. Returns
/// how many bytes that took, and fills `states` with the states that [`decode`] must start from.
/// The bytes before are scratch, and hold unspecified values.
///
/// A symbol that the table does not list is coded as its last entry.
///
/// # Panics
/// When `states` is empty, or when `stream` is shorter than `symbols` (a symbol takes at most one
/// byte).
pub fn encode(table: &Table, symbols: &[u8], states: &mut [u16], stream: &mut [u8]) -> usize {
    encode_with(Backend::active(), table, symbols, states, stream)
}

/// [`decode`] on a back-end of the caller's choice.
///
/// # Panics
/// As [`decode`], and if this machine lacks the back-end.
pub fn decode_with(
    backend: Backend,
    table: &Table,
    states: &mut [u16],
    stream: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    backend.require();
    if !has_vectors(table, states.len()) {
        return scalar::decode(table, states, stream, out);
    }
    match backend {
        Backend::Scalar => scalar::decode(table, states, stream, out),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => decode_rounds(table, states, stream, out, |states, stream, out| {
            avx2::decode(Backend::avx2(), table, states, stream, out)
        }),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => decode_rounds(table, states, stream, out, |states, stream, out| {
            // SAFETY: `require` has found AVX-512 with VBMI and VBMI2 on this machine.
            unsafe { avx512::decode(table, states, stream, out) }
        }),
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => decode_rounds(table, states, stream, out, |states, stream, out| {
            neon::decode(Backend::neon(), table, states, stream, out)
        }),
        #[allow(unreachable_patterns, reason = "depends on the target")]
        missing => missing.unavailable(),
    }
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

/// Whether vector kernels take these lanes and this table, each of whose frequencies must fit a
/// byte.
fn has_vectors(table: &Table, lanes: usize) -> bool {
    matches!(lanes, 64 | 128 | MAX_LANES) && table.len > 1
}

/// Drives a kernel that decodes whole rounds while the stream has a byte for each lane, and
/// returns how many symbols and bytes that were: over the stream, then over its last bytes with
/// zeros after them. The scalar twin decodes the symbols that are not a whole round.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn decode_rounds(
    table: &Table,
    states: &mut [u16],
    stream: &[u8],
    out: &mut [u8],
    kernel: impl Fn(&mut [u16], &[u8], &mut [u8]) -> (usize, usize),
) -> Option<usize> {
    let (done, read) = kernel(states, stream, out);
    let (stream, out) = (&stream[read..], &mut out[done..]);
    let mut last = [0; 2 * MAX_LANES];
    let (mut more, mut taken) = (0, 0);
    if out.len() >= states.len() {
        // The kernel has left less than a byte for each lane.
        last[..stream.len()].copy_from_slice(stream);
        // It stops only where a round is not whole, or beyond the bytes that there are.
        (more, taken) = kernel(states, &last, out);
    }
    let rest = stream.get(taken..)?;
    Some(read + taken + scalar::decode(table, states, rest, &mut out[more..])?)
}

/// Almost `2^16 / freq`, for a `freq` of 1 to 255: for an `x` less than `256 * freq`, the product
/// over `2^16` is the quotient or one less.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn reciprocal(freq: u16) -> u16 {
    ((1 << 16) / u32::from(freq)).min(u16::MAX.into()) as u16
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
