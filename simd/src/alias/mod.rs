//! Range ANS in lanes with finer frequencies and more entries than [`lanes`](crate::lanes): for
//! planes whose upper bits make an alphabet of up to 64 values.
//!
//! The state of a lane is a `u32` in `[2^16, 2^32)`, probabilities are multiples of `2^-12`, and a
//! lane renormalises by at most one 16-bit *unit* per symbol. Symbol `i` belongs to lane `i mod N`,
//! and the lanes take their units from the one stream in symbol order. Every lane is encoded from
//! [`START`], so a correct decode leaves every lane there.
//!
//! Slots are laid out by the alias method: they make 64 buckets of 64, one for each entry, and no
//! bucket has slots of more than one other entry. So look-ups among 64 values find the entry of a
//! slot, and vector units have instructions for these.
//!
//! Source: as for [`lanes`](crate::lanes); A. J. Walker, "An efficient method for generating
//! discrete random variables with general distributions" (1977), which F. Giesen brought to rANS.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::Backend;
#[cfg(target_arch = "x86_64")]
use crate::backend::Token;
use crate::lanes::{Escapes, Exhausted};

/// The state that every lane starts encoding from, and ends decoding at.
pub const START: u32 = 1 << 16;

/// The most entries of a table.
pub const MAX_ENTRIES: usize = 64;

/// Slots of a table, as a power of two.
pub const SLOT_BITS: u32 = 12;

/// Frequencies add up to this.
pub const SLOTS: usize = 1 << SLOT_BITS;

/// Kernels take frequencies up by so many bits: 16 bits of a product then come out below a quotient
/// of [`SLOT_BITS`] less.
#[cfg(target_arch = "x86_64")]
const FREQ_SHIFT: u32 = 16 - SLOT_BITS;

/// The most lanes.
pub const MAX_LANES: usize = 128;

/// Returns how many buckets the slots of so many entries make, as a power of two.
fn bucket_bits(entries: usize) -> u32 {
    if entries <= FEW_ENTRIES { 5 } else { 6 }
}

/// Tables of no more entries have half as many buckets: look-ups among these are faster.
pub const FEW_ENTRIES: usize = 32;

/// The part of a byte that entries stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// Whether bytes are rotated left by one bit before they are coded: the sign of a float is then
    /// at the bottom.
    pub turn: bool,
    /// The number of low bits that are not coded: less than 8.
    pub shift: u8,
    /// The value of the first entry. Each other one has the value that follows.
    pub first: u8,
}

impl Values {
    /// Returns the symbol of an entry: its value above zeros, modulo 256.
    pub fn symbol(self, entry: u8) -> u8 {
        self.first.wrapping_add(entry) << self.shift
    }

    /// Returns the byte as it is coded.
    pub fn turned(self, byte: u8) -> u8 {
        byte.rotate_left(self.turn.into())
    }

    /// Undoes [`Values::turned`].
    fn turned_back(self, byte: u8) -> u8 {
        byte.rotate_right(self.turn.into())
    }
}

/// Up to 64 entries with their frequencies, prepared for both directions. The last frequency may be
/// that of an escape.
#[derive(Clone, Debug)]
pub struct AliasTable {
    /// How many entries there are; the arrays by entry hold zeros beyond.
    len: u8,
    escape: bool,
    values: Values,
    freqs: [u16; MAX_ENTRIES],
    buckets: Buckets,
    /// The step of decoding for each slot: the number of the slot among those of its entry above
    /// 20 bits, the entry above 12, the frequency.
    steps: Box<[u32; SLOTS]>,
    /// For each entry, the first of its places.
    starts: [u16; MAX_ENTRIES],
    /// The slots of each entry, one entry after the other.
    places: Box<[u16; SLOTS]>,
    /// `2^64 / freq`, rounded down: the quotient of a state is right or one too small.
    reciprocals: [u64; MAX_ENTRIES],
}

/// The owners of the slots. The first slots of a bucket belong to its own entry, the others to
/// another one.
#[derive(Clone, Debug)]
struct Buckets {
    /// The number of slots of a bucket, as a power of two.
    slot_bits: u32,
    /// How many slots the own entry has.
    own: [u8; MAX_ENTRIES],
    /// The other entry.
    aliases: [u8; MAX_ENTRIES],
    /// What makes the place in a bucket the number of the slot among those of the other entry,
    /// mod 2^16.
    offsets: [u16; MAX_ENTRIES],
}

impl Buckets {
    /// Lays out slots: the entries that have too many for their buckets fill up the other buckets,
    /// both in their order. An entry that has given too much is filled up at once.
    fn new(len: usize, freqs: &[u16; MAX_ENTRIES]) -> Self {
        let slot_bits = SLOT_BITS - bucket_bits(len);
        let (count, size) = (1 << bucket_bits(len), 1 << slot_bits);
        let mut buckets = Self {
            slot_bits,
            own: [0; MAX_ENTRIES],
            aliases: std::array::from_fn(|entry| entry as u8),
            offsets: [0; MAX_ENTRIES],
        };
        let mut left = *freqs;
        let mut givers = (0..count).filter(|&entry| freqs[entry] > size);
        let mut giver = givers.next();
        for first in (0..count).filter(|&entry| freqs[entry] < size) {
            let mut bucket = first;
            while left[bucket] < size
                && let Some(from) = giver
            {
                left[from] -= size - left[bucket];
                buckets.own[bucket] = left[bucket] as u8;
                buckets.aliases[bucket] = from as u8;
                buckets.offsets[bucket] = left[from].wrapping_sub(left[bucket]);
                bucket = from;
                if left[from] < size {
                    giver = givers.next();
                }
            }
        }
        buckets
    }

    /// Returns the entry that owns a slot, and the number of the slot among those of the entry.
    fn owner(&self, slot: u16) -> (u8, u16) {
        let bucket = usize::from(slot >> self.slot_bits);
        let place = slot & ((1 << self.slot_bits) - 1);
        if place < self.own[bucket].into() {
            return (bucket as u8, place);
        }
        (self.aliases[bucket], self.offsets[bucket].wrapping_add(place))
    }
}

impl AliasTable {
    /// A table of entries with these frequencies. With an escape, the last one is that of the
    /// escape, for all values that no other entry stands for.
    ///
    /// `None` unless there are 1 to 64 frequencies that add up to 4,096, each less than that.
    ///
    /// # Panics
    /// When no bit of a byte is coded.
    pub fn new(values: Values, escape: bool, freqs: &[u16]) -> Option<Self> {
        assert!(values.shift < 8, "a shift of {}", values.shift);
        let len = freqs.len();
        let total: usize = freqs.iter().map(|&f| usize::from(f)).sum();
        let whole = freqs.iter().any(|&f| usize::from(f) >= SLOTS);
        if len > MAX_ENTRIES || total != SLOTS || whole {
            return None;
        }
        let mut all_freqs = [0; MAX_ENTRIES];
        all_freqs[..len].copy_from_slice(freqs);
        let mut table = Self {
            len: len as u8,
            escape,
            values,
            freqs: all_freqs,
            buckets: Buckets::new(len, &all_freqs),
            steps: vec![0; SLOTS].try_into().expect("so many"),
            starts: [0; MAX_ENTRIES],
            places: vec![0; SLOTS].try_into().expect("so many"),
            reciprocals: all_freqs.map(|f| u64::MAX / u64::from(f.max(1))),
        };
        let mut start = 0;
        for (first, &freq) in table.starts.iter_mut().zip(&all_freqs) {
            *first = start;
            start += freq;
        }
        for (slot, step) in (0..).zip(table.steps.iter_mut()) {
            let (entry, number) = table.buckets.owner(slot);
            let freq = u32::from(all_freqs[usize::from(entry)]);
            *step = u32::from(number) << 20 | u32::from(entry) << SLOT_BITS | freq;
            table.places[usize::from(table.starts[usize::from(entry)] + number)] = slot;
        }
        Some(table)
    }

    /// The frequencies; they add up to 4,096. The last one is that of the escape if the table has
    /// one.
    pub fn freqs(&self) -> &[u16] {
        &self.freqs[..self.len.into()]
    }

    /// Whether there is an escape.
    pub fn has_escape(&self) -> bool {
        self.escape
    }

    /// The entry of the escape; without one, an entry that no slot belongs to.
    fn escape_entry(&self) -> u8 {
        if self.escape { self.len - 1 } else { u8::MAX }
    }
}

/// The rest of an encoded plane.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The units that lanes take when they renormalise.
    pub units: &'a [[u8; 2]],
    /// The symbols that escapes stand for.
    pub escaped: &'a [u8],
}

/// The bytes below symbols, one for each.
#[derive(Clone, Copy)]
struct Below<'a> {
    /// The low bits of the byte, which are added to the symbol.
    bits: &'a [u8],
    /// The low byte of the word; empty where bytes make no words.
    low: &'a [u8],
}

impl<'a> Below<'a> {
    /// Returns what is below the symbols from one on.
    fn from(self, symbol: usize) -> Self {
        Self { bits: &self.bits[symbol..], low: self.low.get(symbol..).unwrap_or(&[]) }
    }
}

/// Decodes a symbol for each of `bits`, adds these, mod 256, and turns the bytes back. Moves
/// `input` past what the symbols took.
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
/// When `states` is empty, or `out` is not as long as `bits`.
pub fn decode(
    backend: Backend,
    table: &AliasTable,
    states: &mut [u32],
    input: &mut Input<'_>,
    bits: &[u8],
    out: &mut [u8],
) -> Result<(), Exhausted> {
    assert_eq!(bits.len(), out.len(), "low bits for each symbol");
    decode_pieces::<1>(backend, table, states, input, Below { bits, low: &[] }, out)
}

/// Decodes the high bytes of 16-bit words, merges them with the `low` ones, and rotates the words
/// right by one bit: as [`decode`] and then [`planes::merge`](crate::planes::merge) of both planes
/// in [`Layout::FLOAT16`](crate::planes::Layout::FLOAT16).
///
/// # Errors
/// As [`decode`].
///
/// # Panics
/// When `states` is empty, `low` is not as long as `bits`, or `out` not twice as long.
pub fn decode_float16(
    backend: Backend,
    table: &AliasTable,
    states: &mut [u32],
    input: &mut Input<'_>,
    [bits, low]: [&[u8]; 2],
    out: &mut [u8],
) -> Result<(), Exhausted> {
    assert_eq!(bits.len(), low.len(), "low bits for each word");
    assert_eq!(out.len(), 2 * low.len(), "a word for each low byte");
    decode_pieces::<2>(backend, table, states, input, Below { bits, low }, out)
}

/// Decodes into words of W bytes: the bytes alone, or merged with low ones.
fn decode_pieces<const W: usize>(
    backend: Backend,
    table: &AliasTable,
    states: &mut [u32],
    input: &mut Input<'_>,
    mut below: Below<'_>,
    mut out: &mut [u8],
) -> Result<(), Exhausted> {
    let lanes = states.len();
    let mut escapes = Escapes::new(input.escaped);
    // A kernel decodes whole rounds while there is a unit for each lane: over all units, then over
    // the last ones with zeros after them.
    if has_vectors(lanes) {
        let (done, taken) =
            decode_rounds::<W>(backend, table, states, input.units, &mut escapes, below, out);
        input.units = &input.units[taken..];
        (below, out) = (below.from(done), &mut out[W * done..]);
        if out.len() >= W * lanes && input.units.len() < lanes {
            let mut last = [[0; 2]; 2 * MAX_LANES];
            last[..input.units.len()].copy_from_slice(input.units);
            let (done, taken) =
                decode_rounds::<W>(backend, table, states, &last, &mut escapes, below, out);
            // It stops only where a round is not whole, or beyond the units that there are.
            input.units = input.units.get(taken..).ok_or(Exhausted::Stream)?;
            (below, out) = (below.from(done), &mut out[W * done..]);
        }
    }
    let taken = scalar::decode::<W>(table, states, input.units, &mut escapes, below, out);
    input.units = input.units.get(taken..).ok_or(Exhausted::Stream)?;
    input.escaped = escapes.finish()?;
    Ok(())
}

/// Decodes whole rounds, a symbol of each lane, while there is a unit for each lane; returns how
/// many symbols that were and how many units they took.
fn decode_rounds<const W: usize>(
    backend: Backend,
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    match backend.token {
        // SAFETY: the token exists, so this machine has AVX2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(token, _) => unsafe {
            avx2::decode::<W>(token, table, states, units, escapes, below, out)
        },
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI and VBMI2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe {
            avx512::decode::<W>(table, states, units, escapes, below, out)
        },
        // The scalar reference takes all.
        _ => {
            let _ = (table, states, units, escapes, below, out);
            (0, 0)
        }
    }
}

/// Encodes the symbols of these entries into the end of `units`. Returns how many units that took,
/// and fills `states` with the states that [`decode`] must start from. The units before are
/// scratch, and hold unspecified values.
///
/// # Panics
/// When `states` is empty, or when there are fewer units than symbols (a symbol takes at most one).
/// An entry must have a frequency.
pub fn encode(
    table: &AliasTable,
    entries: &[u8],
    states: &mut [u32],
    units: &mut [[u8; 2]],
) -> usize {
    assert!(units.len() >= entries.len(), "a unit for each symbol");
    states.fill(START);
    scalar::encode(table, entries, states, units)
}

/// Returns whether vector kernels take so many lanes.
fn has_vectors(lanes: usize) -> bool {
    matches!(lanes, 64 | MAX_LANES)
}
