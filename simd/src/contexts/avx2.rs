//! Eight lanes in a register, four registers; symbols and ranges are gathered.

use core::arch::x86_64::*;

use pulp::cast;

use super::{CONTEXT, ContextTables, LANES, SLOT_BITS, SLOTS, SYMBOLS};
use crate::alias::avx2::EXPAND;

/// Lanes of a register.
const WIDTH: usize = 8;

/// The bits of eight context bytes that count.
const CONTEXTS: u64 = u64::from_le_bytes([CONTEXT; WIDTH]);

/// Decodes rounds, as `decode` of the module above. Every context has a table.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn decode(
    tables: &ContextTables,
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
    for out in out.as_chunks_mut::<LANES>().0 {
        if rest.len() < LANES {
            break;
        }
        let (mut symbols, mut next) = ([zero; LANES / WIDTH], x);
        for g in 0..LANES / WIDTH {
            let context = match contexts.get(done + g * WIDTH..).and_then(<[u8]>::first_chunk) {
                Some(bytes) => {
                    let bytes = u64::from_le_bytes(*bytes) & CONTEXTS;
                    _mm256_cvtepu8_epi32(cast([bytes, 0]))
                }
                None => zero,
            };
            let slot = _mm256_and_si256(x[g], slots);
            let at = _mm256_or_si256(_mm256_slli_epi32::<SHIFT>(context), slot);
            // SAFETY: the context has a table, so that the slot is one of `symbols`, and three
            // bytes lie after the last of these.
            let four = unsafe { _mm256_i32gather_epi32::<1>(tables.symbols.as_ptr().cast(), at) };
            let symbol = _mm256_and_si256(four, _mm256_set1_epi32(0xff));
            const { assert!(SYMBOLS == 1 << 8) };
            let at = _mm256_or_si256(_mm256_slli_epi32::<8>(context), symbol);
            // SAFETY: the context has a table, which has a range for each of 256 symbols.
            let range = unsafe { _mm256_i32gather_epi32::<4>(tables.ranges.as_ptr().cast(), at) };
            let freq = _mm256_and_si256(range, _mm256_set1_epi32(0xffff));
            let product = _mm256_mullo_epi32(freq, _mm256_srli_epi32::<SHIFT>(x[g]));
            let above = _mm256_sub_epi32(slot, _mm256_srli_epi32::<16>(range));
            next[g] = _mm256_add_epi32(product, above);
            symbols[g] = symbol;
        }
        let mut taken = 0;
        for (x, next) in x.iter_mut().zip(next) {
            let refill = _mm256_cmpeq_epi32(_mm256_srli_epi32::<16>(next), zero);
            let mask = _mm256_movemask_ps(_mm256_castsi256_ps(refill)) as u8;
            let window = rest[taken..].first_chunk::<WIDTH>().expect("a lane takes one at most");
            let window = _mm_shuffle_epi8(cast(*window), cast(EXPAND[usize::from(mask)]));
            let shift = _mm256_and_si256(refill, _mm256_set1_epi32(16));
            *x = _mm256_or_si256(_mm256_sllv_epi32(next, shift), _mm256_cvtepu16_epi32(window));
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
