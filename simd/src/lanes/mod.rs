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

mod scalar;

/// The state that every lane starts encoding from, and ends decoding at.
pub const START: u16 = 1 << 8;

/// The most symbols that a [`Table`] holds.
pub const MAX_SYMBOLS: usize = 16;

/// Frequencies add up to this.
pub const TOTAL: u16 = 1 << 8;

/// A model: up to 16 byte values and their frequencies, prepared for both directions.
#[derive(Clone, Debug)]
pub struct Table {
    entries: [Entry; MAX_SYMBOLS],
    len: u8,
    /// What decoding a slot takes, for each of the 256.
    slots: [Slot; 256],
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
            rank_of_symbol: [len as u8 - 1; 256],
        };
        let mut start = 0;
        for (rank, (&symbol, &freq)) in symbols.iter().zip(freqs).enumerate() {
            table.entries[rank] =
                Entry { symbol, freq, start, reciprocal: (1u32 << 24).div_ceil(freq.into()) };
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

/// Decodes `out.len()` symbols from `stream` and returns how many bytes it read, or `None` when
/// the stream is too short (`out` then holds unspecified symbols).
///
/// `states` holds one state per lane and is left at the states after the last symbol; all are
/// [`START`] if the stream was right. Any state and any stream are safe input.
///
/// # Panics
/// When `states` is empty.
pub fn decode(table: &Table, states: &mut [u16], stream: &[u8], out: &mut [u8]) -> Option<usize> {
    scalar::decode(table, states, stream, out)
}

/// Encodes `symbols` into the end of `stream` and returns how many bytes that took; `states` gets
/// the states that [`decode`] must start from.
///
/// A symbol that the table does not list is coded as its last entry.
///
/// # Panics
/// When `states` is empty, or when `stream` is shorter than `symbols` (a symbol takes at most one
/// byte).
pub fn encode(table: &Table, symbols: &[u8], states: &mut [u16], stream: &mut [u8]) -> usize {
    assert!(stream.len() >= symbols.len(), "the stream needs a byte per symbol");
    scalar::encode(table, symbols, states, stream)
}
