//! The algorithm for vector units without a large byte permute.
//!
//! The rank of a slot, which is how many entries start at or before it, less one, is found by four
//! steps of binary search, in all lanes of a vector at once: a shuffle finds each lane's bound.
//! States are in two arrays, of their low and of their high bytes.
//!
//! Loops are written out, not mapped with closures: a closure that the standard library calls is
//! compiled without the features of the vector unit, and nothing is inlined any more.

use super::{MAX_LANES, MAX_SYMBOLS, Table, reciprocal};

/// What the algorithm needs of a vector unit of L bytes.
pub(super) trait Unit<const L: usize>: Copy {
    /// L bytes.
    type Vector: Copy;

    /// What to flip in bytes so that `above` orders them as unsigned numbers.
    const FLIP: u8;

    fn load(self, bytes: &[u8; L]) -> Self::Vector;
    fn store(self, vector: Self::Vector, bytes: &mut [u8; L]);
    fn splat(self, byte: u8) -> Self::Vector;
    /// For `look_up`.
    fn table(self, table: [u8; 16]) -> Self::Vector;
    /// The bytes of a table; indices are less than 16.
    fn look_up(self, table: Self::Vector, indices: Self::Vector) -> Self::Vector;

    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// All ones where `a > b`, as [`FLIP`](Self::FLIP) says, else zero.
    fn above(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The low and the high bytes of `a * b + c`.
    fn mul_add(
        self,
        a: Self::Vector,
        b: Self::Vector,
        c: Self::Vector,
    ) -> (Self::Vector, Self::Vector);

    /// All ones where a byte is zero, else zero.
    fn is_zero(self, vector: Self::Vector) -> Self::Vector;
    /// `a` where the mask is ones, `b` where it is zero.
    fn select(self, mask: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The next byte for each lane where the mask is ones, and how many these are.
    fn expand(self, mask: Self::Vector, bytes: &[u8; L]) -> (Self::Vector, usize);
    /// Undoes `expand` at the end of `free`, which has at least L bytes; changes bytes before that.
    fn compress(self, mask: Self::Vector, vector: Self::Vector, free: &mut [u8]) -> usize;
    /// Quotients and remainders of 16-bit numbers, given as low and high bytes, by `divisor`, with
    /// its [`reciprocal`] as low and high bytes. Quotients are less than 256.
    fn div(
        self,
        number: (Self::Vector, Self::Vector),
        divisor: Self::Vector,
        reciprocal: (Self::Vector, Self::Vector),
    ) -> (Self::Vector, Self::Vector);
}

/// Decodes whole rounds, a symbol of each lane, while the stream has a byte for each lane; returns
/// how many symbols that were and how many bytes they took.
///
/// There are at most [`MAX_LANES`] states, a multiple of L, and every frequency is less than 256.
#[inline(always)]
pub(super) fn decode<U: Unit<L>, const L: usize>(
    unit: U,
    table: &Table,
    states: &mut [u16],
    stream: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    let mut bounds = [unit.splat(0); 4];
    for (bounds, level) in bounds.iter_mut().zip(bounds_of(table)) {
        *bounds = unit.table(level.map(|bound| bound ^ U::FLIP));
    }
    let mut symbols = [0; MAX_SYMBOLS];
    let mut freqs = [0; MAX_SYMBOLS];
    let mut starts = [0; MAX_SYMBOLS];
    for (rank, entry) in table.entries.iter().enumerate() {
        symbols[rank] = entry.symbol;
        freqs[rank] = entry.freq as u8;
        starts[rank] = entry.start as u8;
    }
    let (symbols, freqs, starts) = (unit.table(symbols), unit.table(freqs), unit.table(starts));
    let flip = unit.splat(U::FLIP);

    let lanes = states.len();
    let (mut low, mut high) = ([0; MAX_LANES], [0; MAX_LANES]);
    for (i, state) in states.iter().enumerate() {
        [low[i], high[i]] = state.to_le_bytes();
    }
    let mut rest = stream;
    let mut rounds = 0;
    for round in out.chunks_exact_mut(lanes) {
        // Every vector takes at most its width.
        let Some((bytes, _)) = rest.split_at_checked(lanes) else { break };
        let mut taken = 0;
        let vectors = low.as_chunks_mut::<L>().0.iter_mut().zip(high.as_chunks_mut::<L>().0);
        for (out, (low, high)) in round.as_chunks_mut::<L>().0.iter_mut().zip(vectors) {
            let slot = unit.load(low);
            let ordered = unit.xor(slot, flip);
            let mut rank = unit.splat(0);
            for bounds in bounds {
                let beyond = unit.above(ordered, unit.look_up(bounds, rank));
                rank = unit.sub(unit.add(rank, rank), beyond);
            }
            unit.store(unit.look_up(symbols, rank), out);

            let freq = unit.look_up(freqs, rank);
            let bias = unit.sub(slot, unit.look_up(starts, rank));
            let (x_low, x_high) = unit.mul_add(freq, unit.load(high), bias);
            let refill = unit.is_zero(x_high);
            let window = bytes[taken..].first_chunk().expect("a vector takes at most its width");
            let (refills, count) = unit.expand(refill, window);
            unit.store(unit.select(refill, refills, x_low), low);
            unit.store(unit.select(refill, x_low, x_high), high);
            taken += count;
        }
        rest = &rest[taken..];
        rounds += 1;
    }
    for (i, state) in states.iter_mut().enumerate() {
        *state = u16::from_le_bytes([low[i], high[i]]);
    }
    (rounds * lanes, stream.len() - rest.len())
}

/// Encodes whole rounds into the end of the stream, from the states as they are; returns how many
/// bytes that took.
///
/// There are at most [`MAX_LANES`] states, a multiple of L, symbols for each of them equally often,
/// at least as many bytes as symbols, and every frequency is less than 256.
#[inline(always)]
pub(super) fn encode<U: Unit<L>, const L: usize>(
    unit: U,
    table: &Table,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    let mut freqs = [0; MAX_SYMBOLS];
    let mut starts = [0; MAX_SYMBOLS];
    let (mut low, mut high) = ([0; MAX_SYMBOLS], [0; MAX_SYMBOLS]);
    for (rank, entry) in table.entries[..table.len.into()].iter().enumerate() {
        freqs[rank] = entry.freq as u8;
        starts[rank] = entry.start as u8;
        [low[rank], high[rank]] = reciprocal(entry.freq).to_le_bytes();
    }
    let (freqs, starts) = (unit.table(freqs), unit.table(starts));
    let reciprocals = (unit.table(low), unit.table(high));
    let flip = unit.splat(U::FLIP);

    let lanes = states.len();
    let (mut low, mut high) = ([0; MAX_LANES], [0; MAX_LANES]);
    for (i, state) in states.iter().enumerate() {
        [low[i], high[i]] = state.to_le_bytes();
    }
    let mut ranks = [0; MAX_LANES];
    let mut free = stream.len();
    for round in symbols.rchunks_exact(lanes) {
        for (rank, &symbol) in ranks.iter_mut().zip(round) {
            *rank = table.rank_of_symbol[usize::from(symbol)];
        }
        let ranks = ranks[..lanes].as_chunks::<L>().0.iter();
        let vectors = low.as_chunks_mut::<L>().0.iter_mut().zip(high.as_chunks_mut::<L>().0);
        for (rank, (low, high)) in ranks.zip(vectors).rev() {
            let rank = unit.load(rank);
            let freq = unit.look_up(freqs, rank);
            let (x_low, x_high) = (unit.load(low), unit.load(high));

            // x >= 256 * freq: put a byte, x /= 256.
            let keep = unit.above(unit.xor(freq, flip), unit.xor(x_high, flip));
            free -= unit.compress(unit.is_zero(keep), x_low, &mut stream[..free]);
            let number =
                (unit.select(keep, x_low, x_high), unit.select(keep, x_high, unit.splat(0)));

            let reciprocal = (unit.look_up(reciprocals.0, rank), unit.look_up(reciprocals.1, rank));
            let (quotient, rest) = unit.div(number, freq, reciprocal);
            // The remainder and the start make less than 256.
            unit.store(unit.add(rest, unit.look_up(starts, rank)), low);
            unit.store(quotient, high);
        }
    }
    for (i, state) in states.iter_mut().enumerate() {
        *state = u16::from_le_bytes([low[i], high[i]]);
    }
    stream.len() - free
}

/// For each level of the search and each rank that the levels before give, the last slot of the
/// lower half; 255, which no slot is beyond, where the upper half has no entries.
fn bounds_of(table: &Table) -> [[u8; MAX_SYMBOLS]; 4] {
    let mut bounds = [[u8::MAX; MAX_SYMBOLS]; 4];
    for (level, bounds) in bounds.iter_mut().enumerate() {
        let upper = table.entries[..table.len.into()].chunks(MAX_SYMBOLS >> (level + 1));
        for (bound, entries) in bounds.iter_mut().zip(upper.skip(1).step_by(2)) {
            *bound = (entries[0].start - 1) as u8;
        }
    }
    bounds
}

/// For each mask of eight lanes, the number of its next byte for each lane that it has, and 255
/// for the others.
pub(super) static EXPAND: [[u8; 8]; 256] = {
    let mut table = [[u8::MAX; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][lane] = next;
                next += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// For each mask of eight lanes, the lanes that it has, at the end, and 255 before.
pub(super) static COMPRESS: [[u8; 8]; 256] = {
    let mut table = [[u8::MAX; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut end) = (8, 8);
        while lane > 0 {
            lane -= 1;
            if mask >> lane & 1 == 1 {
                end -= 1;
                table[mask][end] = lane as u8;
            }
        }
        mask += 1;
    }
    table
};
