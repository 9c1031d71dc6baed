//! The plain definition, which compilers make vectors of.

use super::{Column, ContextMap, NO_VALUE, ROWS, Term};

/// As `predict_contexts` of the module above.
#[inline(always)]
pub(super) fn predict_contexts(
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    map: &ContextMap,
    contexts: &mut [u8; ROWS],
) {
    let mut sums = [intercept; ROWS];
    for term in terms {
        let coefficient = term.factor();
        for (sum, &value) in sums.iter_mut().zip(&columns[usize::from(term.column)]) {
            let product = (i32::from(coefficient) * i32::from(value)) >> 16;
            *sum = sum.wrapping_add(product as i16);
        }
    }
    for (context, sum) in contexts.iter_mut().zip(sums) {
        let distance = usize::from(sum.unsigned_abs() >> map.shift);
        let sign = if sum < 0 { map.negative } else { 0 };
        *context = map.contexts[distance.min(map.contexts.len() - 1)] | sign;
    }
}

/// As `values` of the module above.
#[inline(always)]
pub(super) fn values(unit: u32, floats: &[u8; ROWS], column: &mut Column) {
    for (value, &float) in column.iter_mut().zip(floats) {
        *value = self::value(unit, float);
    }
}

/// As `value` of the module above.
#[inline(always)]
pub(super) fn value(unit: u32, float: u8) -> i16 {
    let (exponent, mantissa) = (float >> 3 & 15, u32::from(float & 7));
    let magnitude = (((8 + mantissa) << exponent) >> unit) as i16;
    let magnitude = if exponent == NO_VALUE { 0 } else { magnitude };
    if float & 0x80 != 0 { -magnitude } else { magnitude }
}
