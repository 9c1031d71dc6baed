//! The first pass for contexts: how far the mean of each column is from zero.

use crate::symbol::{FLIP, Symbol};
use crate::tops::Tops;

/// The bounds between contexts: the square of the mean in parts of 2^16 of the mean square, for
/// means of 0.05, 0.1, 0.16, 0.25, 0.4, 0.6, 0.9, 1.4 and 2.2 standard deviations.
const BOUNDS: [u128; 9] = [163, 649, 1636, 3855, 9039, 17348, 29330, 43400, 54329];

/// The number of contexts that columns are sorted into.
pub(super) const COLUMN_CONTEXTS: usize = BOUNDS.len() + 1;

/// Sums of each column.
#[derive(Clone, Debug)]
pub(crate) struct ColumnMoments {
    sums: Vec<i64>,
    squares: Vec<u64>,
    counts: Vec<u64>,
}

impl ColumnMoments {
    pub(crate) fn new(row_len: u64) -> Self {
        let n = row_len as usize;
        Self { sums: vec![0; n], squares: vec![0; n], counts: vec![0; n] }
    }

    pub(crate) fn add(&mut self, tops: &Tops<'_>) {
        let mut column = (tops.position % tops.row_len) as usize;
        for &top in tops.tops {
            let symbol = Symbol::fold(tops.shift, top).symbol;
            if !symbol.is_escape() {
                let value = (symbol.mantissa() as i64 + 8) << symbol.exponent();
                self.sums[column] += if symbol.is_negative() { -value } else { value };
                // At most 2^18: many rows fit.
                self.squares[column] += ((value * value) >> 8) as u64;
                self.counts[column] += 1;
            }
            column = if column + 1 == self.sums.len() { 0 } else { column + 1 };
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }

    /// Returns the context byte of each column: its context, and a flip where its mean is negative.
    pub(crate) fn columns(&self) -> Vec<u8> {
        let sums = self.sums.iter().zip(&self.squares).zip(&self.counts);
        let column = |((&sum, &square), &count): ((&i64, &u64), &u64)| {
            let mean = u128::from(sum.unsigned_abs());
            let whole = (u128::from(square) << 8) * u128::from(count);
            let part = ((mean * mean) << 16) / whole.max(1);
            let context = BOUNDS.iter().filter(|&&bound| part >= bound).count() as u8;
            context | if sum < 0 { FLIP } else { 0 }
        };
        sums.map(column).collect()
    }
}
