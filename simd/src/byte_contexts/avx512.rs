//! Sixteen lanes in a register, two registers; steps are gathered.

use core::arch::x86_64::*;

use pulp::cast;

use super::{ByteTables, LANES, SLOT_BITS, SLOTS, START};

/// Lanes of a register.
const WIDTH: usize = 16;

/// Decodes rounds, as `decode` of the module above. Every context has a table.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
pub(super) fn decode(
    tables: &ByteTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let mut x: [__m512i; LANES / WIDTH] = cast(*states);
    let slots = _mm512_set1_epi32(SLOTS as i32 - 1);
    let start = _mm512_set1_epi32(START as i32);
    let mut rest = *units;
    let mut done = 0;
    let rounds = out.as_chunks_mut::<LANES>().0.iter_mut().zip(contexts.as_chunks::<LANES>().0);
    for (out, contexts) in rounds {
        if rest.len() < LANES {
            break;
        }
        let mut taken = 0;
        let parts = out.as_chunks_mut::<WIDTH>().0.iter_mut().zip(contexts.as_chunks::<WIDTH>().0);
        for (x, (out, contexts)) in x.iter_mut().zip(parts) {
            let context = _mm512_cvtepu8_epi32(cast::<[u8; WIDTH], __m128i>(*contexts));
            let slot = _mm512_and_si512(*x, slots);
            let at = _mm512_or_si512(_mm512_slli_epi32::<{ SLOT_BITS }>(context), slot);
            // SAFETY: the context has a table, so that its slots have steps.
            let step = unsafe { _mm512_i32gather_epi32::<4>(at, tables.steps.as_ptr().cast()) };
            let product = _mm512_mullo_epi32(
                _mm512_and_si512(step, slots),
                _mm512_srli_epi32::<{ SLOT_BITS }>(*x),
            );
            let next = _mm512_add_epi32(product, _mm512_srli_epi32::<20>(step));
            let refill = _mm512_cmplt_epu32_mask(next, start);
            let window = rest[taken..].first_chunk::<WIDTH>().expect("a lane takes one at most");
            let window = _mm512_cvtepu16_epi32(cast::<[[u8; 2]; WIDTH], __m256i>(*window));
            let window = _mm512_maskz_expand_epi32(refill, window);
            let refilled = _mm512_or_si512(_mm512_slli_epi32::<16>(next), window);
            *x = _mm512_mask_mov_epi32(next, refill, refilled);
            taken += refill.count_ones() as usize;
            let symbol = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<{ SLOT_BITS }>(step));
            *out = cast::<__m128i, [u8; WIDTH]>(symbol);
        }
        rest = &rest[taken..];
        done += LANES;
    }
    *states = cast(x);
    *units = rest;
    done
}
