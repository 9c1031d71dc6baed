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
        for (group, out) in groups.iter_mut().zip(round.chunks_exact_mut(W * WIDTH)) {
            let places = group.low.map(|low| _mm256_and_si256(low, place_bits));
            let buckets =
                group.low.map(|low| _mm256_and_si256(_mm256_srli_epi16::<BITS>(low), bucket_bits));
            let place = _mm256_packus_epi16(places[0], places[1]);
            let bucket = Indices::new(_mm256_packus_epi16(buckets[0], buckets[1]));
            let is_own = _mm256_cmpgt_epi8(own.look_up(&bucket), place);
            let entry = _mm256_blendv_epi8(aliases.look_up(&bucket), bucket.bytes, is_own);
            let [offset_low, offset_high] = offsets.look_up(&bucket);
            let offset_low = _mm256_andnot_si256(is_own, offset_low);
            let offset_high = _mm256_andnot_si256(is_own, offset_high);
            let index = Indices::new(entry);
            let [freq_low, freq_high] = freqs.look_up(&index);
            let freq = [
                _mm256_unpacklo_epi8(freq_low, freq_high),
                _mm256_unpackhi_epi8(freq_low, freq_high),
            ];
            let offset = [
                _mm256_unpacklo_epi8(offset_low, offset_high),
                _mm256_unpackhi_epi8(offset_low, offset_high),
            ];
            for half in 0..2 {
                let (low, high) = (group.low[half], group.high[half]);
                let number = _mm256_add_epi16(places[half], offset[half]);
                // The quotient has 20 bits: 4 of the lower half, which make less than 2^16 with
                // the number, below the upper half.
                let product = _mm256_mulhi_epu16(freq[half], _mm256_and_si256(low, top_bits));
                let few = _mm256_add_epi16(product, number);
                let x_low = _mm256_add_epi16(_mm256_mullo_epi16(freq[half], high), few);
                let carry = _mm256_min_epu16(_mm256_subs_epu16(few, x_low), one);
                group.low[half] = x_low;
                group.high[half] = _mm256_add_epi16(_mm256_mulhi_epu16(freq[half], high), carry);
            }
            let refills = group.high.map(|high| _mm256_cmpeq_epi16(high, zero));
            // Lanes are in order where their bytes are packed.
            let mask = _mm256_movemask_epi8(_mm256_packs_epi16(refills[0], refills[1])) as u32;
            let window: &[[u8; 2]; WIDTH] =
                window[taken..].first_chunk().expect("a group takes at most its width");
            let mut expanded = [_mm_setzero_si128(); 4];
            for (eight, expanded) in expanded.iter_mut().enumerate() {
                let before = (mask & !(u32::MAX << (8 * eight))).count_ones() as usize;
                let window: &[[u8; 2]; 8] =
                    window[before..].first_chunk().expect("at most 24 units before");
                let order = EXPAND[usize::from((mask >> (8 * eight)) as u8)];
                *expanded = _mm_shuffle_epi8(cast(*window), cast(order));
            }
            taken += mask.count_ones() as usize;
            for half in 0..2 {
                let (low, high) = (group.low[half], group.high[half]);
                let units = _mm256_set_m128i(expanded[2 + half], expanded[half]);
                group.high[half] = _mm256_blendv_epi8(high, low, refills[half]);
                group.low[half] = _mm256_blendv_epi8(low, units, refills[half]);
            }

            let value = _mm256_and_si256(_mm256_sll_epi16(entry, shift), coded_bits);
            let mut symbol = _mm256_add_epi8(value, first);
            let mask = _mm256_movemask_epi8(_mm256_cmpeq_epi8(entry, escape)) as u32;
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

    fn store(&self, states: &mut [u32; WIDTH]) {
        let (low, high): ([[u16; 16]; 2], [[u16; 16]; 2]) = (cast(self.low), cast(self.high));
        for (lane, state) in states.iter_mut().enumerate() {
            let (register, at) = (lane / 8 % 2, lane / 16 * 8 + lane % 8);
            *state = u32::from(high[register][at]) << 16 | u32::from(low[register][at]);
        }
    }
}

/// Indices below 64, and what chooses among rows of 16 by them.
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
    fn look_up(&self, indices: &Indices) -> __m256i {
        let rows = self.0.map(|row| _mm256_shuffle_epi8(row, indices.bytes));
        let first = _mm256_blendv_epi8(rows[0], rows[1], indices.odd);
        if R == 2 {
            return first;
        }
        let second = _mm256_blendv_epi8(rows[R - 2], rows[R - 1], indices.odd);
        _mm256_blendv_epi8(first, second, indices.upper)
    }
}

/// A table of R rows of 16 words: their low bytes and their high bytes.
struct Words<const R: usize>([Bytes<R>; 2]);

impl<const R: usize> Words<R> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(table: [u16; MAX_ENTRIES]) -> Self {
        Self([
            Bytes::new(table.map(|word| word as u8)),
            Bytes::new(table.map(|word| (word >> 8) as u8)),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn look_up(&self, indices: &Indices) -> [__m256i; 2] {
        [self.0[0].look_up(indices), self.0[1].look_up(indices)]
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
