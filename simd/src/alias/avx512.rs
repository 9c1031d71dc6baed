//! 64 lanes a group: the halves of their states in two registers each.
//!
//! A step takes all groups at once, so that the latency of one hides behind the others.

use core::arch::x86_64::*;

use pulp::cast;

use super::{AliasTable, Below, FREQ_SHIFT, MAX_ENTRIES, SLOT_BITS};
use crate::lanes::Escapes;
use crate::lanes::avx512::{bytes_from, escape_into, float16};
use crate::prefetch;

/// Lanes of a group.
const WIDTH: usize = 64;

/// How far ahead, in symbols, memory is fetched.
const AHEAD: usize = 2048;

/// Decodes whole rounds, as `decode_rounds` of the module above. There are 64 or 128 states.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
pub(super) fn decode<const W: usize>(
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    match (states.len(), table.buckets.slot_bits) {
        (64, 6) => decode_groups::<W, 1, 6, 10>(table, states, units, escapes, below, out),
        (64, _) => decode_groups::<W, 1, 7, 9>(table, states, units, escapes, below, out),
        (128, 6) => decode_groups::<W, 2, 6, 10>(table, states, units, escapes, below, out),
        (128, _) => decode_groups::<W, 2, 7, 9>(table, states, units, escapes, below, out),
        (lanes, _) => unreachable!("{lanes} lanes"),
    }
}

/// The states of a group: the lower and the upper halves of its first 32 lanes and of its others.
#[derive(Clone, Copy)]
struct Group {
    low: [__m512i; 2],
    high: [__m512i; 2],
}

/// Decodes G groups of lanes. One long function, so that the table and the states of all groups
/// stay in registers from round to round.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
fn decode_groups<const W: usize, const G: usize, const BITS: u32, const ABOVE: i32>(
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
) -> (usize, usize) {
    // The slots of the own entry above the alias.
    let mut heads = [0; MAX_ENTRIES];
    for ((head, &own), &alias) in
        heads.iter_mut().zip(&table.buckets.own).zip(&table.buckets.aliases)
    {
        *head = u16::from(own) << ABOVE | u16::from(alias);
    }
    let heads: [__m512i; 2] = cast(heads);
    let freqs: [__m512i; 2] = cast(table.freqs.map(|freq| freq << FREQ_SHIFT));
    let offsets: [__m512i; 2] = cast(table.buckets.offsets);
    let symbols: [u8; MAX_ENTRIES] = std::array::from_fn(|e| table.values.symbol(e as u8));
    let symbols: __m512i = cast(symbols);
    let escape = _mm512_set1_epi8(table.escape_entry() as i8);
    let ones = _mm512_set1_epi16(-1);
    let place_bits = _mm512_set1_epi16((1 << BITS) - 1);
    let top_bits = _mm512_set1_epi16(-1 << SLOT_BITS);
    let entry_bits = _mm512_set1_epi8((1 << (12 - BITS)) - 1);
    let bytes_even: __m512i = cast(const { bytes_from(0, 2) });

    let mut groups: [Group; G] = load(states);
    let mut rest = units;
    let mut rounds = 0;
    for round in out.chunks_exact_mut(W * G * WIDTH) {
        // Every group takes at most its width.
        let Some((window, _)) = rest.split_at_checked(G * WIDTH) else { break };
        prefetch::read_ahead(window.as_flattened(), AHEAD);
        let mut taken = 0;
        for (g, out) in round.chunks_exact_mut(W * WIDTH).enumerate() {
            let mut entries = [_mm512_setzero_si512(); 2];
            for (half, entries) in entries.iter_mut().enumerate() {
                let (low, high) = (groups[g].low[half], groups[g].high[half]);
                // A permute takes the low bits of an index, as many as there are buckets.
                let bucket = _mm512_srli_epi16::<BITS>(low);
                let head = look_up::<BITS>(heads, bucket);
                // The bits below the place are all set, so the alias decides nothing.
                let reached = _mm512_shldi_epi16::<ABOVE>(low, ones);
                let aliased = _mm512_cmpge_epu16_mask(reached, head);
                let entry = _mm512_mask_mov_epi16(bucket, aliased, head);
                *entries = entry;
                let freq = look_up::<BITS>(freqs, entry);
                let place = _mm512_and_si512(low, place_bits);
                let number =
                    _mm512_mask_add_epi16(place, aliased, place, look_up::<BITS>(offsets, bucket));

                // The quotient has 20 bits: 4 of the lower half, which make less than 2^16 with
                // the number, below the upper half.
                let product = _mm512_mulhi_epu16(freq, _mm512_and_si512(low, top_bits));
                let few = _mm512_add_epi16(product, number);
                let x_low = _mm512_add_epi16(_mm512_mullo_epi16(freq, high), few);
                let carry = _mm512_cmplt_epu16_mask(x_low, few);
                let x_high = _mm512_mulhi_epu16(freq, high);
                let x_high = _mm512_mask_sub_epi16(x_high, carry, x_high, ones);

                let refill = _mm512_testn_epi16_mask(x_high, x_high);
                let window: &[[u8; 2]; WIDTH / 2] =
                    window[taken..].first_chunk().expect("a group takes at most its width");
                let window = cast::<[[u8; 2]; WIDTH / 2], _>(*window);
                groups[g].low[half] = _mm512_mask_expand_epi16(x_low, refill, window);
                groups[g].high[half] = _mm512_mask_mov_epi16(x_high, refill, x_low);
                taken += refill.count_ones() as usize;
            }
            let entry = _mm512_permutex2var_epi8(entries[0], bytes_even, entries[1]);
            let entry = _mm512_and_si512(entry, entry_bits);
            let mut symbol = _mm512_permutexvar_epi8(entry, symbols);
            let escaped = _mm512_cmpeq_epi8_mask(entry, escape);
            if escaped != 0 {
                symbol = escape_into(symbol, escaped, escapes);
            }
            let from = (rounds * G + g) * WIDTH;
            let bits: &[u8; WIDTH] = below.bits[from..].first_chunk().expect("one a symbol");
            let mut bytes = _mm512_add_epi8(symbol, cast(*bits));
            if table.values.turn {
                bytes = turn_back(bytes);
            }
            prefetch::write_ahead(out, W * AHEAD);
            if W == 1 {
                out.copy_from_slice(&cast::<_, [u8; WIDTH]>(bytes));
            } else {
                let low: &[u8; WIDTH] = below.low[from..].first_chunk().expect("one a symbol");
                prefetch::read_ahead(low, AHEAD);
                prefetch::write_ahead(out, W * AHEAD + WIDTH);
                let words = cast::<_, [[u8; WIDTH]; 2]>(float16(bytes, cast(*low)));
                out.copy_from_slice(words.as_flattened());
            }
        }
        rest = &rest[taken..];
        rounds += 1;
    }
    store(groups, states);
    (rounds * G * WIDTH, units.len() - rest.len())
}

/// Rotates bytes right by one bit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn turn_back(bytes: __m512i) -> __m512i {
    const FIRST_OR_ELSE_SECOND: i32 = 0xca;
    _mm512_ternarylogic_epi32::<FIRST_OR_ELSE_SECOND>(
        _mm512_set1_epi8(0x7f),
        _mm512_srli_epi16::<1>(bytes),
        _mm512_slli_epi16::<7>(bytes),
    )
}

/// Looks up 16-bit numbers by the low six bits of each index.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn look_up<const BITS: u32>([first, second]: [__m512i; 2], indices: __m512i) -> __m512i {
    match BITS {
        6 => _mm512_permutex2var_epi16(first, indices, second),
        _ => _mm512_permutexvar_epi16(indices, first),
    }
}

/// Loads the halves of the states, group by group.
#[inline]
#[target_feature(enable = "avx512f")]
fn load<const G: usize>(states: &[u32]) -> [Group; G] {
    let zero = [_mm512_setzero_si512(); 2];
    let mut groups = [Group { low: zero, high: zero }; G];
    for (group, states) in groups.iter_mut().zip(states.as_chunks::<WIDTH>().0) {
        group.low = cast(states.map(|state| state as u16));
        group.high = cast(states.map(|state| (state >> 16) as u16));
    }
    groups
}

/// Undoes [`load`].
#[inline]
#[target_feature(enable = "avx512f")]
fn store<const G: usize>(groups: [Group; G], states: &mut [u32]) {
    for (group, states) in groups.iter().zip(states.as_chunks_mut::<WIDTH>().0) {
        let low: [u16; WIDTH] = cast(group.low);
        let high: [u16; WIDTH] = cast(group.high);
        for ((state, low), high) in states.iter_mut().zip(low).zip(high) {
            *state = u32::from(high) << 16 | u32::from(low);
        }
    }
}
