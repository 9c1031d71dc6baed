//! 32 lanes a group: look-ups on bytes, arithmetic on the halves of states.

use core::arch::x86_64::*;

use pulp::cast;

use super::{AliasTable, MAX_ENTRIES};
use crate::lanes::Escapes;

/// Lanes of a group.
const WIDTH: usize = 32;

/// Decodes whole rounds, as `decode_rounds` of the module above. There are 64 or 128 states.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn decode(
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    match table.buckets.slot_bits {
        6 => decode_groups::<4, 6>(table, states, units, escapes, out),
        _ => decode_groups::<2, 7>(table, states, units, escapes, out),
    }
}

/// Decodes with tables of R rows of 16 entries.
#[target_feature(enable = "avx2,popcnt")]
fn decode_groups<const R: usize, const BITS: i32>(
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    let lanes = states.len();
    let own = Bytes::<R>::new(table.buckets.own);
    let aliases = Bytes::<R>::new(table.buckets.aliases);
    let offsets = table.buckets.offsets;
    let (offsets_low, offsets_high) = (
        Bytes::<R>::new(offsets.map(|o| o as u8)),
        Bytes::<R>::new(offsets.map(|o| (o >> 8) as u8)),
    );
    let (freqs_low, freqs_high) = (
        Bytes::<R>::new(table.freqs.map(|f| f as u8)),
        Bytes::<R>::new(table.freqs.map(|f| (f >> 8) as u8)),
    );
    let symbols = Bytes::<R>::new(table.symbols);
    let escape = _mm256_set1_epi8(table.escape_entry() as i8);
    let place_bits = _mm256_set1_epi16((1 << BITS) - 1);
    let bucket_bits = _mm256_set1_epi16((1 << (12 - BITS)) - 1);
    let zero = _mm256_setzero_si256();

    let mut groups = [Group { low: [zero; 2], high: [zero; 2] }; super::MAX_LANES / WIDTH];
    let groups = &mut groups[..lanes / WIDTH];
    for (group, states) in groups.iter_mut().zip(states.as_chunks::<WIDTH>().0) {
        *group = Group::load(states);
    }
    let mut rest = units;
    let mut rounds = 0;
    for round in out.chunks_exact_mut(lanes) {
        // Every lane takes at most a unit.
        let Some((window, _)) = rest.split_at_checked(lanes) else { break };
        let mut taken = 0;
        for (group, out) in groups.iter_mut().zip(round.as_chunks_mut::<WIDTH>().0) {
            let places = group.low.map(|low| _mm256_and_si256(low, place_bits));
            let buckets =
                group.low.map(|low| _mm256_and_si256(_mm256_srli_epi16::<BITS>(low), bucket_bits));
            let place = _mm256_packus_epi16(places[0], places[1]);
            let bucket = Indices::new(_mm256_packus_epi16(buckets[0], buckets[1]));
            let is_own = _mm256_cmpgt_epi8(own.look_up(&bucket), place);
            let entry = _mm256_blendv_epi8(aliases.look_up(&bucket), bucket.bytes, is_own);
            let offset_low = _mm256_andnot_si256(is_own, offsets_low.look_up(&bucket));
            let offset_high = _mm256_andnot_si256(is_own, offsets_high.look_up(&bucket));
            let index = Indices::new(entry);
            let (freq_low, freq_high) = (freqs_low.look_up(&index), freqs_high.look_up(&index));
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
                // 20 bits, in two parts.
                let quotient =
                    _mm256_or_si256(_mm256_slli_epi16::<4>(high), _mm256_srli_epi16::<12>(low));
                let quotient_high = _mm256_srli_epi16::<12>(high);
                let x_low = _mm256_add_epi16(_mm256_mullo_epi16(freq[half], quotient), number);
                let no_carry = _mm256_cmpeq_epi16(_mm256_max_epu16(x_low, number), x_low);
                let x_high = _mm256_add_epi16(
                    _mm256_mulhi_epu16(freq[half], quotient),
                    _mm256_mullo_epi16(freq[half], quotient_high),
                );
                // One more where there is a carry.
                let x_high =
                    _mm256_add_epi16(_mm256_add_epi16(x_high, _mm256_set1_epi16(1)), no_carry);
                group.low[half] = x_low;
                group.high[half] = x_high;
            }
            let refills = group.high.map(|high| _mm256_cmpeq_epi16(high, zero));
            // Lanes are in order where their bytes are packed.
            let mask = _mm256_movemask_epi8(_mm256_packs_epi16(refills[0], refills[1])) as u32;
            let mut expanded = [_mm_setzero_si128(); 4];
            for (eight, expanded) in expanded.iter_mut().enumerate() {
                let eight_mask = (mask >> (8 * eight)) as u8;
                let window: &[[u8; 2]; 8] =
                    window[taken..].first_chunk().expect("a lane takes at most a unit");
                *expanded = _mm_shuffle_epi8(cast(*window), cast(EXPAND[usize::from(eight_mask)]));
                taken += eight_mask.count_ones() as usize;
            }
            for half in 0..2 {
                let (low, high) = (group.low[half], group.high[half]);
                group.high[half] = _mm256_or_si256(high, _mm256_and_si256(refills[half], low));
                group.low[half] = _mm256_or_si256(
                    _mm256_andnot_si256(refills[half], low),
                    _mm256_set_m128i(expanded[2 + half], expanded[half]),
                );
            }

            let mut symbol = symbols.look_up(&index);
            let mask = _mm256_movemask_epi8(_mm256_cmpeq_epi8(entry, escape)) as u32;
            if mask != 0 {
                let mut bytes: [u8; WIDTH] = cast(symbol);
                escapes.put(mask.into(), &mut bytes);
                symbol = cast(bytes);
            }
            *out = cast(_mm256_add_epi8(symbol, cast(*out)));
        }
        rest = &rest[taken..];
        rounds += 1;
    }
    for (group, states) in groups.iter().zip(states.as_chunks_mut::<WIDTH>().0) {
        group.store(states);
    }
    (rounds * lanes, units.len() - rest.len())
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
