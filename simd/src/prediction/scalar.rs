//! The plain definition, which compilers make vectors of.

use super::{Column, DISTANCE_SHIFT, NEGATIVE, ROWS, Table, Term};

#[inline(always)]
pub(super) fn predict_contexts(
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    table: &Table,
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
        let distance = usize::from(sum.unsigned_abs() >> DISTANCE_SHIFT);
        *context = table[distance.min(table.len() - 1)] | if sum < 0 { NEGATIVE } else { 0 };
    }
}

#[inline(always)]
pub(super) fn values(symbols: &[u8; ROWS], column: &mut Column) {
    for (value, &symbol) in column.iter_mut().zip(symbols) {
        *value = super::value(symbol);
    }
}
