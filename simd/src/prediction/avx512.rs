//! 32 rows in a register, two registers.

use core::arch::x86_64::*;

use pulp::cast;

use super::{Column, ContextMap, NO_VALUE, ROWS, Term};

/// A 16-bit number of each row.
type Halves = [__m512i; 2];

/// As `predict_contexts` of the module above.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn predict_contexts(
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    map: &ContextMap,
    contexts: &mut [u8; ROWS],
) {
    let mut sums: Halves = [_mm512_set1_epi16(intercept); 2];
    for term in terms {
        let coefficient = _mm512_set1_epi16(term.factor());
        let values: Halves = cast(columns[usize::from(term.column)]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = _mm512_add_epi16(*sum, _mm512_mulhi_epi16(coefficient, value));
        }
    }
    let last = _mm512_set1_epi16(map.contexts.len() as i16 - 1);
    let shift = _mm_cvtsi32_si128(map.shift as i32);
    let distance = |sum| {
        let distance = _mm512_srl_epi16(_mm512_abs_epi16(sum), shift);
        _mm512_cvtepi16_epi8(_mm512_min_epu16(distance, last))
    };
    let [low, high] = sums;
    let distances = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(distance(low)), distance(high));
    let [first, second]: Halves = cast(map.contexts);
    let context = _mm512_permutex2var_epi8(first, distances, second);
    let negative =
        u64::from(_mm512_movepi16_mask(low)) | u64::from(_mm512_movepi16_mask(high)) << 32;
    let sign = _mm512_maskz_set1_epi8(negative, map.negative as i8);
    *contexts = cast(_mm512_or_si512(context, sign));
}

/// As `values` of the module above.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn values(unit: u32, floats: &[u8; ROWS], column: &mut Column) {
    let unit = _mm512_set1_epi16(unit as i16);
    let halves: [__m256i; 2] = cast(*floats);
    let values: Halves = halves.map(|floats| {
        let floats = _mm512_cvtepu8_epi16(floats);
        let (seven, fifteen) = (_mm512_set1_epi16(7), _mm512_set1_epi16(NO_VALUE.into()));
        let exponents = _mm512_and_si512(_mm512_srli_epi16::<3>(floats), fifteen);
        let mantissas = _mm512_or_si512(_mm512_and_si512(floats, seven), _mm512_set1_epi16(8));
        // Left by as much as the exponent is above the unit, right by as much as it is below.
        let up = _mm512_sllv_epi16(mantissas, _mm512_subs_epu16(exponents, unit));
        let magnitudes = _mm512_srlv_epi16(up, _mm512_subs_epu16(unit, exponents));
        let known = _mm512_cmpneq_epi16_mask(exponents, fifteen);
        let magnitudes = _mm512_maskz_mov_epi16(known, magnitudes);
        let negative = _mm512_test_epi16_mask(floats, _mm512_set1_epi16(0x80));
        _mm512_mask_sub_epi16(magnitudes, negative, _mm512_setzero_si512(), magnitudes)
    });
    *column = cast(values);
}
