//! Linear prediction of the elements of a matrix from others of their row, one column at a time, in
//! [`ROWS`] rows at once.
//!
//! All arithmetic is on 16-bit integers that wrap, so that every back-end predicts the same.
//!
//! Source of the idea: linear predictive coding, as of sound (J. Makhoul, "Linear prediction: a
//! tutorial review", 1975), with the columns of a matrix in the place of time.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::Backend;
#[cfg(target_arch = "x86_64")]
use crate::backend::Token;

/// Rows that are predicted at a time.
pub const ROWS: usize = 64;

/// An integer for each row.
pub type Column = [i16; ROWS];

/// The way from a prediction to a context: by its distance from zero, and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextMap {
    /// Distances are counted in units of `1 << shift`.
    pub shift: u32,
    /// The context of each distance. The last one is also that of longer distances.
    pub contexts: [u8; 128],
    /// Bits that are set in the context of a negative prediction.
    pub negative: u8,
}

/// The exponent of small floats that have no value.
const NO_VALUE: u8 = 15;

/// A term of a prediction: another column, times a coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The index of the column.
    pub column: u16,
    /// The factor of its values, in units of 1/256.
    pub coefficient: i8,
}

impl Term {
    /// The coefficient as a 16-bit factor: the high half of its product with a value counts.
    fn factor(self) -> i16 {
        i16::from(self.coefficient) << 8
    }
}

/// Predicts a column: the intercept, and for each term its coefficient times the value of its
/// column, rounded down. Writes the context of each prediction.
///
/// # Panics
/// When a term has no column, or the shift of the map is more than 15.
pub fn predict_contexts(
    backend: Backend,
    intercept: i16,
    terms: &[Term],
    columns: &[Column],
    map: &ContextMap,
    contexts: &mut [u8; ROWS],
) {
    assert!(map.shift < 16, "a shift of {}", map.shift);
    match backend.token {
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe {
            avx512::predict_contexts(intercept, terms, columns, map, contexts)
        },
        // SAFETY: the token exists, so this machine has AVX2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => unsafe {
            avx2::predict_contexts(intercept, terms, columns, map, contexts)
        },
        _ => backend.vectorize(
            #[inline(always)]
            || scalar::predict_contexts(intercept, terms, columns, map, contexts),
        ),
    }
}

/// Writes the [`value`] of each of the small floats.
///
/// # Panics
/// Unless the unit is an exponent from 3 to 14.
pub fn values(backend: Backend, unit: u32, floats: &[u8; ROWS], column: &mut Column) {
    check_unit(unit);
    match backend.token {
        // SAFETY: the token exists, so this machine has AVX-512.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe { avx512::values(unit, floats, column) },
        // SAFETY: the token exists, so this machine has AVX2.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => unsafe { avx2::values(unit, floats, column) },
        _ => backend.vectorize(
            #[inline(always)]
            || scalar::values(unit, floats, column),
        ),
    }
}

/// Returns the value of a small float as an integer, rounded towards zero.
///
/// A small float has a sign in the top bit, four bits of exponent and three of mantissa. Every
/// mantissa has a leading one, and its lowest bit counts 1 where the exponent is `unit`. The
/// largest exponent stands for no value, and gives 0.
///
/// # Panics
/// Unless the unit is an exponent from 3 to 14: values then fit an `i16`.
#[inline(always)]
pub fn value(unit: u32, float: u8) -> i16 {
    check_unit(unit);
    scalar::value(unit, float)
}

#[inline(always)]
fn check_unit(unit: u32) {
    assert!((3..NO_VALUE.into()).contains(&unit), "an exponent from 3 to 14");
}

/// Values of a column, of which products with others are summed up. Values of less than 2^12 have
/// sums that fit.
pub type Sample = [i16; SAMPLE_LEN];

/// Values of a [`Sample`].
pub const SAMPLE_LEN: usize = 128;

/// Adds to each of `sums` the sum of the products of `sample` with one of `others`.
///
/// # Panics
/// When there are more sums than others.
pub fn add_products(backend: Backend, sample: &Sample, others: &[Sample], sums: &mut [i64]) {
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

/// Writes the first `rows` rows one after the other, from `columns` that hold a byte of each row.
///
/// # Panics
/// Unless `out` has as many bytes as there are columns for each of the rows, 64 at most.
pub fn transpose(backend: Backend, columns: &[[u8; ROWS]], rows: usize, out: &mut [u8]) {
    assert!(rows <= ROWS, "{rows} rows");
    assert_eq!(out.len(), rows * columns.len(), "a byte for each column and row");
    backend.vectorize(
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

/// Exchanges bytes across the diagonal: squares of four, of two, of one.
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
