//! 32 lanes a group: look-ups on bytes, arithmetic on the halves of states.

use core::arch::x86_64::*;

use pulp::cast;
use pulp::x86::V3;

use super::{AliasTable, Below, FREQ_SHIFT, MAX_ENTRIES, SLOT_BITS, Values};
use crate::lanes::Escapes;
use crate::lanes::search::SearchUnit;
use crate::prefetch;

/// Lanes of a group.
const WIDTH: usize = 32;

/// Groups that take each step together: the latency of one hides behind the other, and a row of a
/// table is loaded once for both.
const PAIR: usize = 2;

/// How far ahead, in symbols, memory is fetched.
const AHEAD: usize = 2048;

/// Decodes whole rounds, as `decode_rounds` of the module above. There are 64 or 128 states.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn decode<const W: usize>(
    token: V3,
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    match table.buckets.slot_bits {
        6 => decode_groups::<W, 4, 6>(token, table, states, units, escapes, below, out),
        _ => decode_groups::<W, 2, 7>(token, table, states, units, escapes, below, out),
    }
}

/// Decodes with tables of R rows of 16 entries.
#[target_feature(enable = "avx2,popcnt")]
fn decode_groups<const W: usize, const R: usize, const BITS: i32>(
    token: V3,
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    let lanes = states.len();
    let own = Bytes::<R>::new(table.buckets.own);
    let aliases = Bytes::<R>::new(table.buckets.aliases);
    let offsets = Words::<R>::new(table.buckets.offsets);
    let freqs = Words::<R>::new(table.freqs.map(|freq| freq << FREQ_SHIFT));
    let Values { turn, shift, .. } = table.values;
    let (shift, coded_bits) = (_mm_cvtsi32_si128(shift.into()), _mm256_set1_epi8(-1 << shift));
    let first = _mm256_set1_epi8(table.values.symbol(0) as i8);
    let escape = _mm256_set1_epi8(table.escape_entry() as i8);
    let place_bits = _mm256_set1_epi16((1 << BITS) - 1);
    let bucket_bits = _mm256_set1_epi16((1 << (12 - BITS)) - 1);
    let top_bits = _mm256_set1_epi16(-1 << SLOT_BITS);
    let one = _mm256_set1_epi16(1);
    let zero = _mm256_setzero_si256();

    let mut groups = [Group { low: [zero; 2], high: [zero; 2] }; super::MAX_LANES / WIDTH];
    let groups = &mut groups[..lanes / WIDTH];
    for (group, states) in groups.iter_mut().zip(states.as_chunks::<WIDTH>().0) {
        *group = Group::load(states);
    }
    let mut rest = units;
    let mut done = 0;
    for round in out.chunks_exact_mut(W * lanes) {
        // Every lane takes at most a unit.
        let Some((window, _)) = rest.split_at_checked(lanes) else { break };
        let mut taken = 0;
        let pairs = groups.as_chunks_mut::<PAIR>().0.iter_mut();
        for (pair, out) in pairs.zip(round.chunks_exact_mut(PAIR * W * WIDTH)) {
            let mut places = [[zero; 2]; PAIR];
            let mut buckets = [Indices::new(zero); PAIR];
            let mut is_own = [zero; PAIR];
            for g in 0..PAIR {
                let low = pair[g].low;
                places[g] = low.map(|low| _mm256_and_si256(low, place_bits));
                let of =
                    low.map(|low| _mm256_and_si256(_mm256_srli_epi16::<BITS>(low), bucket_bits));
                buckets[g] = Indices::new(_mm256_packus_epi16(of[0], of[1]));
            }
            let own = own.look_up(&buckets);
            for g in 0..PAIR {
                let place = _mm256_packus_epi16(places[g][0], places[g][1]);
                is_own[g] = _mm256_cmpgt_epi8(own[g], place);
            }
            let mut entries = aliases.look_up(&buckets);
            let mut offsets = offsets.look_up(&buckets);
            let mut indices = buckets;
            for g in 0..PAIR {
                entries[g] = _mm256_blendv_epi8(entries[g], buckets[g].bytes, is_own[g]);
                indices[g] = Indices::new(entries[g]);
                offsets[g] = offsets[g].map(|bytes| _mm256_andnot_si256(is_own[g], bytes));
            }
            let freqs = freqs.look_up(&indices);
            for g in 0..PAIR {
                let (freqs, offsets) = (zip(freqs[g]), zip(offsets[g]));
                for half in 0..2 {
                    let (low, high) = (pair[g].low[half], pair[g].high[half]);
                    let (freq, number) =
                        (freqs[half], _mm256_add_epi16(places[g][half], offsets[half]));
                    // The quotient has 20 bits: 4 of the lower half, which make less than 2^16 with
                    // the number, below the upper half.
                    let product = _mm256_mulhi_epu16(freq, _mm256_and_si256(low, top_bits));
                    let few = _mm256_add_epi16(product, number);
                    let x_low = _mm256_add_epi16(_mm256_mullo_epi16(freq, high), few);
                    let carry = _mm256_min_epu16(_mm256_subs_epu16(few, x_low), one);
                    pair[g].low[half] = x_low;
                    pair[g].high[half] = _mm256_add_epi16(_mm256_mulhi_epu16(freq, high), carry);
                }
            }
            for group in pair.iter_mut() {
                let window: &[[u8; 2]; WIDTH] =
                    window[taken..].first_chunk().expect("a group takes at most its width");
                taken += group.refill(window);
            }

            for (g, out) in out.chunks_exact_mut(W * WIDTH).enumerate() {
                let value = _mm256_and_si256(_mm256_sll_epi16(entries[g], shift), coded_bits);
                let mut symbol = _mm256_add_epi8(value, first);
                let mask = _mm256_movemask_epi8(_mm256_cmpeq_epi8(entries[g], escape)) as u32;
                if mask != 0 {
                    let mut bytes: [u8; WIDTH] = cast(symbol);
                    escapes.put(mask.into(), &mut bytes);
                    symbol = cast(bytes);
                }
                let bits: &[u8; WIDTH] = below.bits[done..].first_chunk().expect("one a symbol");
                let mut bytes = _mm256_add_epi8(symbol, cast(*bits));
                if turn {
                    bytes = turn_back(bytes);
                }
                prefetch::write_ahead(out, W * AHEAD);
                if W == 1 {
                    out.copy_from_slice(&cast::<_, [u8; WIDTH]>(bytes));
                } else {
                    let low: &[u8; WIDTH] = below.low[done..].first_chunk().expect("one a symbol");
                    prefetch::read_ahead(low, AHEAD);
                    out.copy_from_slice(token.float16(bytes, cast(*low)).as_flattened());
                }
                done += WIDTH;
            }
        }
        rest = &rest[taken..];
    }
    for (group, states) in groups.iter().zip(states.as_chunks_mut::<WIDTH>().0) {
        group.store(states);
    }
    (done, units.len() - rest.len())
}

/// Rotates bytes right by one bit.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_back(bytes: __m256i) -> __m256i {
    _mm256_or_si256(
        _mm256_and_si256(_mm256_srli_epi16::<1>(bytes), _mm256_set1_epi8(0x7f)),
        _mm256_andnot_si256(_mm256_set1_epi8(0x7f), _mm256_slli_epi16::<7>(bytes)),
    )
}

/// The lower and the upper halves of states. The first registers have lanes 0 to 7 and 16 to 23,
/// so that packing both to bytes puts them in order.
#[derive(Clone, Copy)]
struct Group {
    low: [__m256i; 2],
    high: [__m256i; 2],
}

impl Group {
    fn load(states: &[u32; WIDTH]) -> Self {
        let half = |shift: u32| {
            let mut halves = [[0_u16; 16]; 2];
            for (lane, state) in states.iter().enumerate() {
                halves[lane / 8 % 2][lane / 16 * 8 + lane % 8] = (state >> shift) as u16;
            }
            cast(halves)
        };
        Self { low: half(0), high: half(16) }
    }

    /// Gives the next units to the lanes whose states are low; returns how many.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn refill(&mut self, window: &[[u8; 2]; WIDTH]) -> usize {
        let refills = self.high.map(|high| _mm256_cmpeq_epi16(high, _mm256_setzero_si256()));
        // Lanes are in order where their bytes are packed.
        let mask = _mm256_movemask_epi8(_mm256_packs_epi16(refills[0], refills[1])) as u32;
        let mut expanded = [_mm_setzero_si128(); 4];
        for (eight, expanded) in expanded.iter_mut().enumerate() {
            let before = (mask & !(u32::MAX << (8 * eight))).count_ones() as usize;
            let window: &[[u8; 2]; 8] =
                window[before..].first_chunk().expect("at most 24 units before");
            let order = EXPAND[usize::from((mask >> (8 * eight)) as u8)];
            *expanded = _mm_shuffle_epi8(cast(*window), cast(order));
        }
        for half in 0..2 {
            let (low, high) = (self.low[half], self.high[half]);
            let units = _mm256_set_m128i(expanded[2 + half], expanded[half]);
            self.high[half] = _mm256_blendv_epi8(high, low, refills[half]);
            self.low[half] = _mm256_blendv_epi8(low, units, refills[half]);
        }
        mask.count_ones() as usize
    }

    fn store(&self, states: &mut [u32; WIDTH]) {
        let (low, high): ([[u16; 16]; 2], [[u16; 16]; 2]) = (cast(self.low), cast(self.high));
        for (lane, state) in states.iter_mut().enumerate() {
            let (register, at) = (lane / 8 % 2, lane / 16 * 8 + lane % 8);
            *state = u32::from(high[register][at]) << 16 | u32::from(low[register][at]);
        }
    }
}

/// Makes words of low bytes and high bytes, as a group has them.
#[inline]
#[target_feature(enable = "avx2")]
fn zip([low, high]: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)]
}

/// Indices below 64, and what chooses among rows of 16 by them.
#[derive(Clone, Copy)]
struct Indices {
    bytes: __m256i,
    odd: __m256i,
    upper: __m256i,
}

impl Indices {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(bytes: __m256i) -> Self {
        Self { bytes, odd: _mm256_slli_epi16::<3>(bytes), upper: _mm256_slli_epi16::<2>(bytes) }
    }
}

/// A table of R rows of 16 bytes.
struct Bytes<const R: usize>([__m256i; R]);

impl<const R: usize> Bytes<R> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(table: [u8; MAX_ENTRIES]) -> Self {
        let rows: [[u8; 16]; 4] = cast(table);
        Self(std::array::from_fn(|row| cast([rows[row]; 2])))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn look_up(&self, indices: &[Indices; PAIR]) -> [__m256i; PAIR] {
        let mut rows = [[_mm256_setzero_si256(); PAIR]; R];
        for (rows, row) in rows.iter_mut().zip(self.0) {
            for (row_of, indices) in rows.iter_mut().zip(indices) {
                *row_of = _mm256_shuffle_epi8(row, indices.bytes);
            }
        }
        let mut found = rows[0];
        for (g, (found, indices)) in found.iter_mut().zip(indices).enumerate() {
            *found = _mm256_blendv_epi8(rows[0][g], rows[1][g], indices.odd);
            if R > 2 {
                let second = _mm256_blendv_epi8(rows[R - 2][g], rows[R - 1][g], indices.odd);
                *found = _mm256_blendv_epi8(*found, second, indices.upper);
            }
        }
        found
    }
}

/// A table of R rows of 16 words: their low bytes and their high bytes.
struct Words<const R: usize>([Bytes<R>; 2]);

impl<const R: usize> Words<R> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(table: [u16; MAX_ENTRIES]) -> Self {
        let high = table.map(|word| (word >> 8) as u8);
        Self([Bytes::new(table.map(|word| word as u8)), Bytes::new(high)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn look_up(&self, indices: &[Indices; PAIR]) -> [[__m256i; 2]; PAIR] {
        let (low, high) = (self.0[0].look_up(indices), self.0[1].look_up(indices));
        [[low[0], high[0]], [low[1], high[1]]]
    }
}

/// For each mask of eight lanes, the bytes of the units that lanes take; zeros for the others.
pub(crate) static EXPAND: [[u8; 16]; 256] = {
    let mut table = [[u8::MAX; 16]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][2 * lane] = 2 * next;
                table[mask][2 * lane + 1] = 2 * next + 1;
                next += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};
