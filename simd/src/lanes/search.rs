//! The algorithm for vector units without a large byte permute.
//!
//! The rank of a slot, which is how many entries start at or before it, less one, is found by
//! binary search, in all lanes of a vector at once: a shuffle finds each lane's bound. A table of
//! at most 16 entries takes four steps and shuffles of one row; a larger one, of at most 32, five
//! steps and shuffles of pairs of rows. States are in two arrays, of their low and of their high
//! bytes.
//!
//! Loops are written out, not mapped with closures: a closure that the standard library calls is
//! compiled without the features of the vector unit, and nothing is inlined any more.

use super::{CodingTable, Escapes, MAX_LANES, MAX_SYMBOLS, reciprocal};
use crate::prefetch;

/// Bytes of a row, from which a shuffle picks.
const ROW: usize = 16;

/// How far ahead, in symbols, memory is fetched.
const AHEAD: usize = 2048;

/// A vector unit of L bytes, with the operations that the algorithm needs.
pub(crate) trait SearchUnit<const L: usize>: Copy {
    /// L bytes.
    type Vector: Copy;

    /// The bits to flip in bytes so that `above` orders them as unsigned numbers.
    const FLIP: u8;

    fn load(self, bytes: &[u8; L]) -> Self::Vector;
    fn store(self, vector: Self::Vector, bytes: &mut [u8; L]);
    fn splat(self, byte: u8) -> Self::Vector;
    /// Prepares a row for `look_up`.
    fn row(self, row: [u8; ROW]) -> Self::Vector;
    /// Picks bytes of a row; indices are less than 16.
    fn look_up(self, row: Self::Vector, indices: Self::Vector) -> Self::Vector;
    /// Picks bytes of a row; zero where an index is 16 or more.
    fn look_up_or_zero(self, row: Self::Vector, indices: Self::Vector) -> Self::Vector;
    /// Picks bytes of two rows; indices are less than 32.
    fn look_up_pair(self, rows: [Self::Vector; 2], indices: Self::Vector) -> Self::Vector;

    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns all ones where `a > b`, as [`FLIP`](Self::FLIP) says, else zero.
    fn above(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns the low and the high bytes of `a * b + c`.
    fn mul_add(
        self,
        a: Self::Vector,
        b: Self::Vector,
        c: Self::Vector,
    ) -> (Self::Vector, Self::Vector);

    /// Merges high and low bytes to words, and rotates each word right by one bit.
    fn float16(self, high: Self::Vector, low: Self::Vector) -> [[u8; L]; 2];

    /// Returns a bit for each lane where the mask is ones.
    fn bits(self, mask: Self::Vector) -> u64;
    /// Returns all ones where a byte is zero, else zero.
    fn is_zero(self, vector: Self::Vector) -> Self::Vector;
    /// Returns `a` where the mask is ones, `b` where it is zero.
    fn select(self, mask: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns the next byte for each lane where the mask is ones, and how many these are.
    fn expand(self, mask: Self::Vector, bytes: &[u8; L]) -> (Self::Vector, usize);
    /// Undoes `expand` at the end of `free`, which has at least L bytes; changes bytes before that.
    fn compress(self, mask: Self::Vector, vector: Self::Vector, free: &mut [u8]) -> usize;
    /// Returns the quotients and remainders of 16-bit numbers, given as low and high bytes, by
    /// `divisor`, with its [`reciprocal`] as low and high bytes. Quotients are less than 256.
    fn div(
        self,
        number: (Self::Vector, Self::Vector),
        divisor: Self::Vector,
        reciprocal: (Self::Vector, Self::Vector),
    ) -> (Self::Vector, Self::Vector);
}

/// A table by rank, in R rows: one for at most 16 entries, otherwise two.
#[derive(Clone, Copy)]
struct ByRank<V, const R: usize>([V; R]);

impl<V: Copy, const R: usize> ByRank<V, R> {
    #[inline(always)]
    fn new<U: SearchUnit<L, Vector = V>, const L: usize>(
        unit: U,
        table: [u8; MAX_SYMBOLS],
    ) -> Self {
        let mut rows = [unit.splat(0); R];
        for (vector, row) in rows.iter_mut().zip(table.as_chunks().0) {
            *vector = unit.row(*row);
        }
        Self(rows)
    }

    #[inline(always)]
    fn look_up<U: SearchUnit<L, Vector = V>, const L: usize>(&self, unit: U, ranks: V) -> V {
        match R {
            1 => unit.look_up(self.0[0], ranks),
            _ => unit.look_up_pair([self.0[0], self.0[R - 1]], ranks),
        }
    }
}

/// The ranks of symbols, in rows from the first symbol that is listed to the last one. All others
/// are coded as the last entry.
struct Ranks {
    first: u8,
    last_rank: u8,
    /// Ranks, with the bits of the last one flipped: it is zero, as what lies beyond the rows is.
    rows: [[u8; ROW]; 256 / ROW],
    len: usize,
}

impl Ranks {
    fn new(table: &CodingTable) -> Self {
        let listed = || table.symbols().iter().copied();
        let (first, last) = (listed().min().unwrap_or(0), listed().max().unwrap_or(0));
        let last_rank = table.len - 1;
        let mut rows = [[0; ROW]; 256 / ROW];
        for symbol in listed() {
            let place = &mut rows.as_flattened_mut()[usize::from(symbol - first)];
            *place = table.rank_of_symbol[usize::from(symbol)] ^ last_rank;
        }
        Self { first, last_rank, rows, len: usize::from(last - first) / ROW + 1 }
    }

    #[inline(always)]
    fn look_up<U: SearchUnit<L>, const L: usize>(&self, unit: U, symbols: U::Vector) -> U::Vector {
        let mut index = unit.sub(symbols, unit.splat(self.first));
        let mut ranks = unit.splat(self.last_rank);
        for row in &self.rows[..self.len] {
            ranks = unit.xor(ranks, unit.look_up_or_zero(unit.row(*row), index));
            index = unit.sub(index, unit.splat(ROW as u8));
        }
        ranks
    }
}

/// Decodes whole rounds, as `decode_rounds` of the module above.
///
/// There are at most [`MAX_LANES`] states, a multiple of L, and every frequency is less than 256.
#[inline(always)]
pub(super) fn decode<U: SearchUnit<L>, const W: usize, const L: usize>(
    unit: U,
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low_plane: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    match usize::from(table.len) {
        ..=ROW => decode_by::<U, W, L, 1>(unit, table, states, stream, escapes, low_plane, out),
        _ => decode_by::<U, W, L, 2>(unit, table, states, stream, escapes, low_plane, out),
    }
}

/// Decodes with a table of R rows. One long function, so that all vectors of the table stay in
/// registers from round to round.
#[inline(always)]
fn decode_by<U: SearchUnit<L>, const W: usize, const L: usize, const R: usize>(
    unit: U,
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low_plane: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    let mut bounds = [unit.splat(0); LEVELS];
    for (bounds, level) in bounds.iter_mut().zip(bounds_of(table, R * ROW)) {
        *bounds = unit.row(level.map(|bound| bound ^ U::FLIP));
    }
    let symbols = ByRank::<_, R>::new(unit, table.symbols);
    let freqs = ByRank::<_, R>::new(unit, table.byte_freqs());
    let starts = ByRank::<_, R>::new(unit, table.starts);
    let escape = unit.splat(table.escape_rank());
    let flip = unit.splat(U::FLIP);

    let lanes = states.len();
    let (mut low, mut high) = ([0; MAX_LANES], [0; MAX_LANES]);
    for (i, state) in states.iter().enumerate() {
        [low[i], high[i]] = state.to_le_bytes();
    }
    let mut rest = stream;
    let mut done = 0;
    for round in out.chunks_exact_mut(W * lanes) {
        // Every vector takes at most its width.
        let Some((bytes, _)) = rest.split_at_checked(lanes) else { break };
        let mut taken = 0;
        let vectors = low.as_chunks_mut::<L>().0.iter_mut().zip(high.as_chunks_mut::<L>().0);
        for (out, (low, high)) in round.chunks_exact_mut(W * L).zip(vectors) {
            let slot = unit.load(low);
            let ordered = unit.xor(slot, flip);
            let mut rank = unit.splat(0);
            for &bounds in &bounds[..LEVELS - 2 + R] {
                let beyond = unit.above(ordered, unit.look_up(bounds, rank));
                rank = unit.sub(unit.add(rank, rank), beyond);
            }
            let mut symbol = symbols.look_up(unit, rank);
            let escaped = unit.bits(unit.is_zero(unit.xor(rank, escape)));
            if escaped != 0 {
                let mut bytes = [0; L];
                unit.store(symbol, &mut bytes);
                escapes.put(escaped, &mut bytes);
                symbol = unit.load(&bytes);
            }
            match W {
                1 => unit.store(symbol, out.first_chunk_mut().expect("L bytes")),
                _ => {
                    let low: &[u8; L] = low_plane[done..].first_chunk().expect("W bytes a word");
                    prefetch::read_ahead(low, AHEAD);
                    prefetch::write_ahead(out, 2 * AHEAD);
                    let words = unit.float16(symbol, unit.load(low));
                    out.copy_from_slice(words.as_flattened());
                }
            }
            done += L;

            let freq = freqs.look_up(unit, rank);
            let bias = unit.sub(slot, starts.look_up(unit, rank));
            let (x_low, x_high) = unit.mul_add(freq, unit.load(high), bias);
            let refill = unit.is_zero(x_high);
            let window = bytes[taken..].first_chunk().expect("a vector takes at most its width");
            let (refills, count) = unit.expand(refill, window);
            unit.store(unit.select(refill, refills, x_low), low);
            unit.store(unit.select(refill, x_low, x_high), high);
            taken += count;
        }
        rest = &rest[taken..];
    }
    for (i, state) in states.iter_mut().enumerate() {
        *state = u16::from_le_bytes([low[i], high[i]]);
    }
    (done, stream.len() - rest.len())
}

/// Encodes whole rounds into the end of the stream, from the states as they are; returns how many
/// bytes that took.
///
/// There are at most [`MAX_LANES`] states, a multiple of L, symbols for each of them equally often,
/// at least as many bytes as symbols, and every frequency is less than 256.
#[inline(always)]
pub(super) fn encode<U: SearchUnit<L>, const L: usize>(
    unit: U,
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    match usize::from(table.len) {
        ..=ROW => encode_by::<U, L, 1>(unit, table, symbols, states, stream),
        _ => encode_by::<U, L, 2>(unit, table, symbols, states, stream),
    }
}

/// Encodes with a table of R rows.
#[inline(always)]
fn encode_by<U: SearchUnit<L>, const L: usize, const R: usize>(
    unit: U,
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    let freqs = ByRank::<_, R>::new(unit, table.byte_freqs());
    let starts = ByRank::<_, R>::new(unit, table.starts);
    let reciprocals = table.freqs.map(|freq| reciprocal(freq).to_le_bytes());
    let reciprocals = (
        ByRank::<_, R>::new(unit, reciprocals.map(|[low, _]| low)),
        ByRank::<_, R>::new(unit, reciprocals.map(|[_, high]| high)),
    );
    let ranks = Ranks::new(table);
    let flip = unit.splat(U::FLIP);

    let lanes = states.len();
    let (mut low, mut high) = ([0; MAX_LANES], [0; MAX_LANES]);
    for (i, state) in states.iter().enumerate() {
        [low[i], high[i]] = state.to_le_bytes();
    }
    let mut free = stream.len();
    for round in symbols.rchunks_exact(lanes) {
        let symbols = round.as_chunks::<L>().0.iter();
        let vectors = low.as_chunks_mut::<L>().0.iter_mut().zip(high.as_chunks_mut::<L>().0);
        for (symbols, (low, high)) in symbols.zip(vectors).rev() {
            let rank = ranks.look_up(unit, unit.load(symbols));
            let freq = freqs.look_up(unit, rank);
            let (x_low, x_high) = (unit.load(low), unit.load(high));

            // x >= 256 * freq: put a byte, x /= 256.
            let keep = unit.above(unit.xor(freq, flip), unit.xor(x_high, flip));
            free -= unit.compress(unit.is_zero(keep), x_low, &mut stream[..free]);
            let number =
                (unit.select(keep, x_low, x_high), unit.select(keep, x_high, unit.splat(0)));

            let reciprocal = (reciprocals.0.look_up(unit, rank), reciprocals.1.look_up(unit, rank));
            let (quotient, rest) = unit.div(number, freq, reciprocal);
            // The remainder and the start make less than 256.
            unit.store(unit.add(rest, starts.look_up(unit, rank)), low);
            unit.store(quotient, high);
        }
    }
    for (i, state) in states.iter_mut().enumerate() {
        *state = u16::from_le_bytes([low[i], high[i]]);
    }
    stream.len() - free
}

/// Steps of the search in a table of two rows; of one row it is one less.
const LEVELS: usize = 5;

/// Returns the bounds of the search among `entries`, a power of two: for each level, and each rank
/// that the levels before give, the last slot of the lower half. It is 255, which no slot is
/// beyond, where the upper half has no entries.
fn bounds_of(table: &CodingTable, entries: usize) -> [[u8; ROW]; LEVELS] {
    let mut bounds = [[u8::MAX; ROW]; LEVELS];
    for (level, bounds) in bounds.iter_mut().enumerate().take(entries.ilog2() as usize) {
        let upper = table.starts[..table.len.into()].chunks(entries >> (level + 1));
        for (bound, starts) in bounds.iter_mut().zip(upper.skip(1).step_by(2)) {
            *bound = starts[0] - 1;
        }
    }
    bounds
}

/// For each mask of eight lanes: the number of the next byte for each lane in the mask, and 255 for
/// the others.
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

/// For each mask of eight lanes: the lanes in the mask, at the end, and 255 before them.
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
