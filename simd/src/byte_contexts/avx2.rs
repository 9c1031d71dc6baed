//! Eight lanes in a register, four registers; steps are gathered.

use core::arch::x86_64::*;

use pulp::cast;

use super::{ByteTables, LANES, SLOT_BITS, SLOTS};
use crate::alias::avx2::EXPAND;

/// Lanes of a register.
const WIDTH: usize = 8;

/// Decodes rounds, as `decode` of the module above. Every context has a table.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn decode(
    tables: &ByteTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    const SHIFT: i32 = SLOT_BITS as i32;
    let mut x: [__m256i; LANES / WIDTH] = cast(*states);
    let slots = _mm256_set1_epi32(SLOTS as i32 - 1);
    let zero = _mm256_setzero_si256();
    // Bytes are packed within rows of 16.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut rest = *units;
    let mut done = 0;
    let rounds = out.as_chunks_mut::<LANES>().0.iter_mut().zip(contexts.as_chunks::<LANES>().0);
    for (out, contexts) in rounds {
        if rest.len() < LANES {
            break;
        }
        let mut taken = 0;
        let mut symbols = [zero; LANES / WIDTH];
        for (g, contexts) in contexts.as_chunks::<WIDTH>().0.iter().enumerate() {
            let contexts: __m128i = cast([u64::from_le_bytes(*contexts), 0]);
            let context = _mm256_slli_epi32::<SHIFT>(_mm256_cvtepu8_epi32(contexts));
            let at = _mm256_or_si256(context, _mm256_and_si256(x[g], slots));
            // SAFETY: the context has a table, so that its slots have steps.
            let step = unsafe { _mm256_i32gather_epi32::<4>(tables.steps.as_ptr().cast(), at) };
            symbols[g] =
                _mm256_and_si256(_mm256_srli_epi32::<SHIFT>(step), _mm256_set1_epi32(0xff));
            let product =
                _mm256_mullo_epi32(_mm256_and_si256(step, slots), _mm256_srli_epi32::<SHIFT>(x[g]));
            let next = _mm256_add_epi32(product, _mm256_srli_epi32::<20>(step));
            let refill = _mm256_cmpeq_epi32(_mm256_srli_epi32::<16>(next), zero);
            let mask = _mm256_movemask_ps(_mm256_castsi256_ps(refill)) as u8;
            let window = rest[taken..].first_chunk::<WIDTH>().expect("a lane takes one at most");
            let window = _mm_shuffle_epi8(cast(*window), cast(EXPAND[usize::from(mask)]));
            let shift = _mm256_and_si256(refill, _mm256_set1_epi32(16));
            x[g] = _mm256_or_si256(_mm256_sllv_epi32(next, shift), _mm256_cvtepu16_epi32(window));
            taken += mask.count_ones() as usize;
        }
        let [a, b, c, d] = symbols;
        let packed = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
        *out = cast(_mm256_permutevar8x32_epi32(packed, order));
        rest = &rest[taken..];
        done += LANES;
    }
    *states = cast(x);
    *units = rest;
    done
}
