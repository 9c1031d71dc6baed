//! Sixteen lanes in a register, two registers; symbols and ranges are gathered.

use core::arch::x86_64::*;

use pulp::cast;

use super::{CONTEXT, ContextTables, LANES, SLOT_BITS, SLOTS, START, SYMBOLS};

/// Lanes of a register.
const WIDTH: usize = 16;

/// Decodes rounds, as `decode` of the module above. Every context has a table.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
pub(super) fn decode(
    tables: &ContextTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let mut x: [__m512i; LANES / WIDTH] = cast(*states);
    let slots = _mm512_set1_epi32(SLOTS as i32 - 1);
    let low = _mm512_set1_epi32(0xffff);
    let start_state = _mm512_set1_epi32(START as i32);
    let mut rest = *units;
    let mut done = 0;
    for round in out.as_chunks_mut::<LANES>().0 {
        if rest.len() < LANES {
            break;
        }
        let (mut symbols, mut next) = ([_mm512_setzero_si512(); LANES / WIDTH], x);
        for g in 0..LANES / WIDTH {
            let context = match contexts.get(done + g * WIDTH..).and_then(<[u8]>::first_chunk) {
                Some(bytes) => {
                    let bytes = cast::<[u8; WIDTH], __m128i>(*bytes);
                    let bytes = _mm_and_si128(bytes, _mm_set1_epi8(CONTEXT as i8));
                    _mm512_cvtepu8_epi32(bytes)
                }
                None => _mm512_setzero_si512(),
            };
            let slot = _mm512_and_si512(x[g], slots);
            let at = _mm512_or_si512(_mm512_slli_epi32::<{ SLOT_BITS }>(context), slot);
            // SAFETY: the context has a table, so that the slot is one of `symbols`, and three
            // bytes lie after the last of these.
            let four = unsafe { _mm512_i32gather_epi32::<1>(at, tables.symbols.as_ptr().cast()) };
            let symbol = _mm512_and_si512(four, _mm512_set1_epi32(0xff));
            const { assert!(SYMBOLS == 1 << 8) };
            let at = _mm512_or_si512(_mm512_slli_epi32::<8>(context), symbol);
            // SAFETY: the context has a table, which has a range for each of 256 symbols.
            let range = unsafe { _mm512_i32gather_epi32::<4>(at, tables.ranges.as_ptr().cast()) };
            let (freq, start) = (_mm512_and_si512(range, low), _mm512_srli_epi32::<16>(range));
            let product = _mm512_mullo_epi32(freq, _mm512_srli_epi32::<{ SLOT_BITS }>(x[g]));
            next[g] = _mm512_add_epi32(product, _mm512_sub_epi32(slot, start));
            symbols[g] = symbol;
        }
        let mut taken = 0;
        for (g, out) in round.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            let refill = _mm512_cmplt_epu32_mask(next[g], start_state);
            let window = rest[taken..].first_chunk::<WIDTH>().expect("a lane takes one at most");
            let window = _mm512_cvtepu16_epi32(cast::<[[u8; 2]; WIDTH], __m256i>(*window));
            let window = _mm512_maskz_expand_epi32(refill, window);
            let refilled = _mm512_or_si512(_mm512_slli_epi32::<16>(next[g]), window);
            x[g] = _mm512_mask_mov_epi32(next[g], refill, refilled);
            taken += refill.count_ones() as usize;
            *out = cast::<__m128i, [u8; WIDTH]>(_mm512_cvtepi32_epi8(symbols[g]));
        }
        rest = &rest[taken..];
        done += LANES;
    }
    *states = cast(x);
    *units = rest;
    done
}
