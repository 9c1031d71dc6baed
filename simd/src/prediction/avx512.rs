//! 32 rows in a register, two registers.

use core::arch::x86_64::*;

use pulp::cast;

use super::{Column, DISTANCE_SHIFT, ESCAPE_EXPONENT, NEGATIVE, ROWS, Table, Term, VALUE_SHIFT};

type Halves = [__m512i; 2];

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn predict_contexts(
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    table: &Table,
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
    let last = _mm512_set1_epi16(size_of::<Table>() as i16 - 1);
    let distance = |sum| {
        let distance = _mm512_srli_epi16::<DISTANCE_SHIFT>(_mm512_abs_epi16(sum));
        _mm512_cvtepi16_epi8(_mm512_min_epu16(distance, last))
    };
    let [low, high] = sums;
    let distances = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(distance(low)), distance(high));
    let [first, second]: Halves = cast(*table);
    let context = _mm512_permutex2var_epi8(first, distances, second);
    let negative =
        u64::from(_mm512_movepi16_mask(low)) | u64::from(_mm512_movepi16_mask(high)) << 32;
    let sign = _mm512_maskz_set1_epi8(negative, NEGATIVE as i8);
    *contexts = cast(_mm512_or_si512(context, sign));
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn values(symbols: &[u8; ROWS], column: &mut Column) {
    let halves: [__m256i; 2] = cast(*symbols);
    let values: Halves = halves.map(|symbols| {
        let symbols = _mm512_cvtepu8_epi16(symbols);
        let (seven, fifteen) = (_mm512_set1_epi16(7), _mm512_set1_epi16(ESCAPE_EXPONENT.into()));
        let exponents = _mm512_and_si512(_mm512_srli_epi16::<3>(symbols), fifteen);
        let mantissas = _mm512_or_si512(_mm512_and_si512(symbols, seven), _mm512_set1_epi16(8));
        // Left by what the exponent is above the shift, right by what it is below.
        let shift = _mm512_set1_epi16(VALUE_SHIFT as i16);
        let up = _mm512_sllv_epi16(mantissas, _mm512_subs_epu16(exponents, shift));
        let magnitudes = _mm512_srlv_epi16(up, _mm512_subs_epu16(shift, exponents));
        let known = _mm512_cmpneq_epi16_mask(exponents, fifteen);
        let magnitudes = _mm512_maskz_mov_epi16(known, magnitudes);
        let negative = _mm512_test_epi16_mask(symbols, _mm512_set1_epi16(0x80));
        _mm512_mask_sub_epi16(magnitudes, negative, _mm512_setzero_si512(), magnitudes)
    });
    *column = cast(values);
}
