//! Sixteen rows in a register, four registers.

use core::arch::x86_64::*;

use pulp::cast;

use super::{Column, ContextMap, NO_VALUE, ROWS, Term};

/// A 16-bit number of each row.
type Quarters = [__m256i; 4];

/// Bytes of a row, from which a shuffle picks.
const ROW: usize = 16;

/// As `predict_contexts` of the module above.
#[target_feature(enable = "avx2")]
pub(super) fn predict_contexts(
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    map: &ContextMap,
    contexts: &mut [u8; ROWS],
) {
    let mut sums: Quarters = [_mm256_set1_epi16(intercept); 4];
    for term in terms {
        let coefficient = _mm256_set1_epi16(term.factor());
        let values: Quarters = cast(columns[usize::from(term.column)]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = _mm256_add_epi16(*sum, _mm256_mulhi_epi16(coefficient, value));
        }
    }
    let last = _mm256_set1_epi16(map.contexts.len() as i16 - 1);
    let shift = _mm_cvtsi32_si128(map.shift as i32);
    let mut distances = sums;
    for distance in &mut distances {
        *distance = _mm256_srl_epi16(_mm256_abs_epi16(*distance), shift);
        *distance = _mm256_min_epu16(*distance, last);
    }
    let mut found = [_mm256_setzero_si256(); 2];
    for (i, found) in found.iter_mut().enumerate() {
        // Bytes are packed within halves.
        let distance = _mm256_packus_epi16(distances[2 * i], distances[2 * i + 1]);
        let negative = _mm256_packs_epi16(sums[2 * i], sums[2 * i + 1]);
        let sign = _mm256_and_si256(
            _mm256_cmpgt_epi8(_mm256_setzero_si256(), negative),
            _mm256_set1_epi8(map.negative as i8),
        );
        let mut context = sign;
        for (row, start) in map.contexts.as_chunks::<ROW>().0.iter().zip((0..).step_by(ROW)) {
            // The shuffle gives 0 where the top bit is set: in all other rows.
            let index = _mm256_xor_si256(distance, _mm256_set1_epi8(start));
            let index = _mm256_adds_epu8(index, _mm256_set1_epi8(0x70));
            let row = _mm256_broadcastsi128_si256(cast(*row));
            context = _mm256_or_si256(context, _mm256_shuffle_epi8(row, index));
        }
        *found = _mm256_permute4x64_epi64::<0xd8>(context);
    }
    *contexts = cast(found);
}

/// As `values` of the module above.
#[target_feature(enable = "avx2")]
pub(super) fn values(unit: u32, floats: &[u8; ROWS], column: &mut Column) {
    // A shift to the left is a product, one to the right the high half of a product.
    let (mut up, mut down) = ([0u16; ROW], [0u16; ROW]);
    for exponent in 0..u32::from(NO_VALUE) {
        match exponent.checked_sub(unit) {
            Some(shift) => up[exponent as usize] = 1 << shift,
            None => down[exponent as usize] = 1 << (16 + exponent - unit),
        }
    }
    let (up, down) = (factors(up), factors(down));
    let quarters: [__m128i; 4] = cast(*floats);
    let mut values = [_mm256_setzero_si256(); 4];
    for (value, floats) in values.iter_mut().zip(quarters) {
        let floats = _mm256_cvtepu8_epi16(floats);
        let exponents = _mm256_and_si256(_mm256_srli_epi16::<3>(floats), _mm256_set1_epi16(15));
        let mantissas = _mm256_and_si256(floats, _mm256_set1_epi16(7));
        let mantissas = _mm256_or_si256(mantissas, _mm256_set1_epi16(8));
        let magnitudes = _mm256_or_si256(
            _mm256_mullo_epi16(mantissas, factor(up, exponents)),
            _mm256_mulhi_epu16(mantissas, factor(down, exponents)),
        );
        // The sign in the top bit, of a number that is not 0.
        let sign = _mm256_or_si256(_mm256_slli_epi16::<8>(floats), _mm256_set1_epi16(1));
        *value = _mm256_sign_epi16(magnitudes, sign);
    }
    *column = cast(values);
}

/// Returns the low and the high bytes of a table.
#[inline]
#[target_feature(enable = "avx2")]
fn factors(table: [u16; ROW]) -> [__m256i; 2] {
    let (mut low, mut high) = ([0; ROW], [0; ROW]);
    for ((low, high), factor) in low.iter_mut().zip(&mut high).zip(table) {
        [*low, *high] = factor.to_le_bytes();
    }
    [_mm256_broadcastsi128_si256(cast(low)), _mm256_broadcastsi128_si256(cast(high))]
}

/// Looks up numbers of less than 16.
#[inline]
#[target_feature(enable = "avx2")]
fn factor([low, high]: [__m256i; 2], indices: __m256i) -> __m256i {
    // The shuffle gives 0 where the top bit is set: in the other half of each number.
    let low_index = _mm256_or_si256(indices, _mm256_set1_epi16(i16::MIN));
    let high_index = _mm256_or_si256(_mm256_slli_epi16::<8>(indices), _mm256_set1_epi16(0x80));
    _mm256_or_si256(_mm256_shuffle_epi8(low, low_index), _mm256_shuffle_epi8(high, high_index))
}
