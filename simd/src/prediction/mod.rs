//! Linear prediction of the elements of a matrix from others of their row, one column at a time, for
//! as many rows as fill some vectors.
//!
//! All arithmetic is on 16-bit integers that wrap, so that every back-end predicts the same.
//!
//! Source of the idea: linear predictive coding, as of sound (J. Makhoul, "Linear prediction: a
//! tutorial review", 1975), with the columns of a matrix in the place of time.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::Backend;

/// Rows that are predicted at a time.
pub const ROWS: usize = 64;

/// An integer for each row.
pub type Column = [i16; ROWS];

/// The contexts of predictions, by their distance from zero in units of 32; the last one is also that
/// of predictions beyond.
pub type Table = [u8; 128];

/// A distance is counted in units of 1 << this.
const DISTANCE_SHIFT: u32 = 5;

/// In the byte that [`predict_contexts`] makes: the prediction is negative.
pub const NEGATIVE: u8 = 0x80;

/// The exponent of symbols that stand for no value.
const ESCAPE_EXPONENT: u8 = 15;

/// A mantissa counts 1 if its exponent is this.
const VALUE_SHIFT: u32 = 3;

/// A column that others are predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its index.
    pub column: u16,
    /// What its values are multiplied with, in units of 1/256.
    pub coefficient: i8,
}

impl Term {
    /// The coefficient as a 16-bit factor, of which the high half of the product is kept.
    fn factor(self) -> i16 {
        i16::from(self.coefficient) << 8
    }
}

/// Predicts a column: the intercept, and for each term its coefficient times the value of its
/// column, rounded down. `contexts` become the context of the prediction, with [`NEGATIVE`].
///
/// # Panics
/// When a term has no column.
pub fn predict_contexts(
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    table: &Table,
    contexts: &mut [u8; ROWS],
) {
    predict_contexts_with(Backend::active(), intercept, terms, columns, table, contexts);
}

/// [`predict_contexts`] on a back-end of the caller's choice.
///
/// # Panics
/// As [`predict_contexts`], and if this machine lacks the back-end.
pub fn predict_contexts_with(
    backend: Backend,
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    table: &Table,
    contexts: &mut [u8; ROWS],
) {
    backend.require();
    match backend {
        // SAFETY: `require` has found AVX-512 with BW and VBMI on this machine.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => unsafe {
            avx512::predict_contexts(intercept, terms, columns, table, contexts)
        },
        _ => backend.vectorize(
            #[inline(always)]
            || scalar::predict_contexts(intercept, terms, columns, table, contexts),
        ),
    }
}

/// The values of symbols: a sign in the top bit, four bits of exponent, three of mantissa. A symbol
/// of the exponent 15 has the value 0.
pub fn values(symbols: &[u8; ROWS], column: &mut Column) {
    values_with(Backend::active(), symbols, column);
}

/// [`values`] on a back-end of the caller's choice.
///
/// # Panics
/// If this machine lacks the back-end.
pub fn values_with(backend: Backend, symbols: &[u8; ROWS], column: &mut Column) {
    backend.require();
    match backend {
        // SAFETY: `require` has found AVX-512 with BW on this machine.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => unsafe { avx512::values(symbols, column) },
        _ => backend.vectorize(
            #[inline(always)]
            || scalar::values(symbols, column),
        ),
    }
}

/// The value of one symbol, as [`values`] has it.
#[inline(always)]
pub fn value(symbol: u8) -> i16 {
    let (exponent, mantissa) = (symbol >> 3 & 15, u32::from(symbol & 7));
    let magnitude = (((8 + mantissa) << exponent) >> VALUE_SHIFT) as i16;
    let magnitude = if exponent == ESCAPE_EXPONENT { 0 } else { magnitude };
    if symbol & 0x80 != 0 { -magnitude } else { magnitude }
}

/// Values of a column, from which its products with others are summed up. Values of less than 2^12
/// have sums that fit.
pub type Sample = [i16; SAMPLE_LEN];

/// How many.
pub const SAMPLE_LEN: usize = 128;

/// Adds to each of `sums` the sum of the products of `sample` with one of `others`, on the
/// [active](Backend::active) back-end.
///
/// # Panics
/// When there are more sums than others.
pub fn add_products(sample: &Sample, others: &[Sample], sums: &mut [i64]) {
    add_products_with(Backend::active(), sample, others, sums);
}

/// [`add_products`] on a back-end of the caller's choice.
///
/// # Panics
/// As [`add_products`], and if this machine lacks the back-end.
pub fn add_products_with(backend: Backend, sample: &Sample, others: &[Sample], sums: &mut [i64]) {
    assert!(sums.len() <= others.len(), "a sum for each other column");
    backend.vectorize(
        #[inline(always)]
        || {
            for (sum, other) in sums.iter_mut().zip(others) {
                let products = sample.iter().zip(other);
                let products = products.map(|(&a, &b)| i32::from(a) * i32::from(b));
                *sum += i64::from(products.fold(0, i32::wrapping_add));
            }
        },
    );
}

/// Puts rows after one another of which each of `columns` holds a byte: the first `rows` of them.
///
/// # Panics
/// Unless `out` has as many bytes as there are columns for each of the rows, 64 at most.
pub fn transpose(columns: &[[u8; ROWS]], rows: usize, out: &mut [u8]) {
    assert!(rows <= ROWS, "{rows} rows");
    assert_eq!(out.len(), rows * columns.len(), "a byte for each column and row");
    Backend::active().vectorize(
        #[inline(always)]
        || transpose_squares(columns, rows, out),
    );
}

#[inline(always)]
fn transpose_squares(columns: &[[u8; ROWS]], rows: usize, out: &mut [u8]) {
    let width = columns.len();
    let (blocks, tail) = columns.as_chunks::<8>();
    for (block, columns) in blocks.iter().enumerate() {
        for first in (0..rows).step_by(8) {
            let bytes = |column: &[u8; ROWS]| *column[first..].first_chunk().expect("of 64 rows");
            let square = transpose_square(columns.each_ref().map(|c| u64::from_le_bytes(bytes(c))));
            for (row, bytes) in square.iter().enumerate().take(rows - first) {
                out[(first + row) * width + 8 * block..][..8].copy_from_slice(&bytes.to_le_bytes());
            }
        }
    }
    for (i, column) in tail.iter().enumerate() {
        for (row, &byte) in column.iter().enumerate().take(rows) {
            out[row * width + 8 * blocks.len() + i] = byte;
        }
    }
}

/// Bytes change places across the diagonal: squares of four, of two, of one.
///
/// Source: H. S. Warren, "Hacker's Delight", section 7-3, on bytes instead of bits.
#[inline(always)]
fn transpose_square(mut rows: [u64; 8]) -> [u64; 8] {
    for (step, mask) in [(4, 0xffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)] {
        for i in (0..8).filter(|i| i & step == 0) {
            let swapped = (rows[i] >> (8 * step) ^ rows[i + step]) & mask;
            rows[i + step] ^= swapped;
            rows[i] ^= swapped << (8 * step);
        }
    }
    rows
}
