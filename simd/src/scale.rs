//! Integer arithmetic on the magnitude of floats: adding to its bits multiplies the float by about
//! a power of two, fractions of an exponent included, and is undone exactly.
//!
//! The *magnitude* of a word is the 15 bits of its top 16 that lie below the sign: the exponent and
//! the top of the mantissa. Read as an integer it is close to a logarithm (J. N. Mitchell,
//! "Computer multiplication and division using binary logarithms", 1962). Sums wrap at 2^15.

use crate::Backend;

/// The bits of a magnitude.
pub const MASK: u16 = 0x7fff;

/// The offsets that are added to the words of some rows, and taken off again.
#[derive(Clone, Copy, Debug)]
pub struct Offsets<'a> {
    /// Added to the magnitude of every word of a row, from the row of the first word on.
    pub rows: Rows<'a>,
    /// Words of a row.
    pub row_len: usize,
    /// Added to the magnitude of the word of each column: as many as a row has words, or none.
    pub columns: &'a [u16],
    /// The column of the first word.
    pub first: usize,
    /// Whether words are then rotated left by one bit.
    pub rotate: bool,
}

/// The offsets of rows.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// The same one for all rows.
    Same(u16),
    /// One for each row.
    Each(&'a [u16]),
}

/// Adds the offsets to little-endian words of `width` bytes.
///
/// # Panics
/// Unless `width` is 2, 4 or 8, there are whole words, rows have words and as many columns as words
/// or none, `first` is one of them, and each row of the words has an offset.
pub fn apply(backend: Backend, width: usize, offsets: Offsets<'_>, words: &mut [u8]) {
    offsets.check(width, words);
    backend.vectorize(
        #[inline(always)]
        || match width {
            2 => each::<2, u16, true>(offsets, words),
            4 => each::<4, u32, true>(offsets, words),
            _ => each::<8, u64, true>(offsets, words),
        },
    );
}

/// Undoes [`apply`].
///
/// # Panics
/// As [`apply`].
pub fn undo(backend: Backend, width: usize, offsets: Offsets<'_>, words: &mut [u8]) {
    offsets.check(width, words);
    backend.vectorize(
        #[inline(always)]
        || match width {
            2 => each::<2, u16, false>(offsets, words),
            4 => each::<4, u32, false>(offsets, words),
            _ => each::<8, u64, false>(offsets, words),
        },
    );
}

/// Puts the top 16 bits of words together: the highest bit of their high byte is the sign, and its
/// other bits come above the low `shift` bits of their low byte. The bits between must be zero.
///
/// # Panics
/// Unless `width` is 2, 4 or 8, and there are whole words, and when `shift` is more than 8.
pub fn unfold(backend: Backend, width: usize, shift: u32, words: &mut [u8]) {
    whole_words(width, words);
    assert!(shift <= 8, "a shift of {shift}");
    backend.vectorize(
        #[inline(always)]
        || match width {
            2 => unfold_words::<2, u16>(shift, words),
            4 => unfold_words::<4, u32>(shift, words),
            _ => unfold_words::<8, u64>(shift, words),
        },
    );
}

#[inline(always)]
fn unfold_words<const W: usize, T: FloatWord<W>>(shift: u32, words: &mut [u8]) {
    for bytes in words.as_chunks_mut().0 {
        let word = T::read(*bytes);
        let top = word.top();
        let symbol = ((top >> 8) & 0x7f) << shift;
        *bytes = word.with_top((top & !MASK) | symbol | (top & 0xff)).write();
    }
}

/// Returns the sum of the magnitudes of all words that are not zero, with the offsets of columns
/// added, and how many words these are.
///
/// Column offsets count as signed here.
///
/// # Panics
/// Unless `width` is 2, 4 or 8, there are whole words, and as many columns as words or none.
pub fn sum(backend: Backend, width: usize, columns: &[u16], words: &[u8]) -> (i64, u64) {
    let n = whole_words(width, words);
    assert!(columns.is_empty() || columns.len() == n, "a column for each word");
    backend.vectorize(
        #[inline(always)]
        || match width {
            2 => sum_words::<2, u16>(columns, words),
            4 => sum_words::<4, u32>(columns, words),
            _ => sum_words::<8, u64>(columns, words),
        },
    )
}

/// The most words whose magnitudes a sum of [`add_columns`] holds.
pub const MAX_ADDED: usize = 1 << 17;

/// Adds the magnitudes of the words of whole rows to the sums of their columns, and counts the
/// words of each column whose magnitude is zero. At most [`MAX_ADDED`] rows fit into a sum.
///
/// # Panics
/// Unless `width` is 2, 4 or 8, there are as many sums as zeros, and whole rows of so many words.
pub fn add_columns(
    backend: Backend,
    width: usize,
    words: &[u8],
    sums: &mut [u32],
    zeros: &mut [u32],
) {
    let n = whole_words(width, words);
    assert!(!sums.is_empty() && n.is_multiple_of(sums.len()), "whole rows");
    assert_eq!(sums.len(), zeros.len(), "a count for each sum");
    backend.vectorize(
        #[inline(always)]
        || match width {
            2 => add_words::<2, u16>(words, sums, zeros),
            4 => add_words::<4, u32>(words, sums, zeros),
            _ => add_words::<8, u64>(words, sums, zeros),
        },
    );
}

impl Offsets<'_> {
    /// Checks that there is an offset for each word.
    fn check(&self, width: usize, words: &[u8]) {
        let n = whole_words(width, words);
        assert!(self.first < self.row_len, "the first column is one of the row");
        assert!(self.columns.is_empty() || self.columns.len() == self.row_len, "a column each");
        if let Rows::Each(rows) = self.rows {
            assert!(
                (self.first + n).div_ceil(self.row_len) <= rows.len(),
                "an offset for each row"
            );
        }
    }
}

/// Checks that there are whole words, and returns how many.
fn whole_words(width: usize, words: &[u8]) -> usize {
    assert!(matches!(width, 2 | 4 | 8), "a width of {width} bytes");
    assert!(words.len().is_multiple_of(width), "a part of a word");
    words.len() / width
}

/// A word of W bytes.
trait FloatWord<const W: usize>: Copy {
    fn read(bytes: [u8; W]) -> Self;
    fn write(self) -> [u8; W];
    /// Adds the offset to the magnitude.
    fn offset(self, offset: u16) -> Self;
    fn rotate_left(self) -> Self;
    fn rotate_right(self) -> Self;
    /// The top 16 bits.
    fn top(self) -> u16;
    /// Replaces the top 16 bits.
    fn with_top(self, top: u16) -> Self;
}

macro_rules! word {
    ($word:ty) => {
        impl FloatWord<{ size_of::<$word>() }> for $word {
            #[inline(always)]
            fn read(bytes: [u8; size_of::<$word>()]) -> Self {
                Self::from_le_bytes(bytes)
            }

            #[inline(always)]
            fn write(self) -> [u8; size_of::<$word>()] {
                self.to_le_bytes()
            }

            #[inline(always)]
            fn offset(self, offset: u16) -> Self {
                const SIGN: $word = 1 << (<$word>::BITS - 1);
                let sum = self.wrapping_add(<$word>::from(offset) << (<$word>::BITS - 16));
                self & SIGN | sum & !SIGN
            }

            #[inline(always)]
            fn rotate_left(self) -> Self {
                self.rotate_left(1)
            }

            #[inline(always)]
            fn rotate_right(self) -> Self {
                self.rotate_right(1)
            }

            #[inline(always)]
            fn top(self) -> u16 {
                (self >> (<$word>::BITS - 16)) as u16
            }

            #[inline(always)]
            fn with_top(self, top: u16) -> Self {
                const BELOW: $word = <$word>::MAX >> 8 >> 8;
                let below = if <$word>::BITS == 16 { 0 } else { self & BELOW };
                below | <$word>::from(top) << (<$word>::BITS - 16)
            }
        }
    };
}

word!(u16);
word!(u32);
word!(u64);

/// Adds or takes off the offsets of all words.
#[inline(always)]
fn each<const W: usize, T: FloatWord<W>, const APPLY: bool>(
    offsets: Offsets<'_>,
    words: &mut [u8],
) {
    // A loop for each case, so that none of them asks inside.
    let words = words.as_chunks_mut().0;
    if offsets.rotate {
        each_row::<W, T, APPLY, true>(offsets, words);
    } else {
        each_row::<W, T, APPLY, false>(offsets, words);
    }
}

/// Adds offsets row by row, by loops that compilers make vectors of: of loops inside of them, over
/// as many words as a vector has, they make ten times as many instructions.
#[inline(always)]
fn each_row<const W: usize, T: FloatWord<W>, const APPLY: bool, const ROTATE: bool>(
    offsets: Offsets<'_>,
    words: &mut [[u8; W]],
) {
    let (mut rest, mut column, mut row) = (words, offsets.first, 0);
    while !rest.is_empty() {
        let len = (offsets.row_len - column).min(rest.len());
        let (words, after) = rest.split_at_mut(len);
        let offset = match offsets.rows {
            Rows::Same(offset) => offset,
            Rows::Each(rows) => rows[row],
        };
        if offsets.columns.is_empty() {
            for word in words {
                *word = one::<W, T, APPLY, ROTATE>(T::read(*word), offset).write();
            }
        } else {
            for (word, column) in words.iter_mut().zip(&offsets.columns[column..]) {
                let offset = offset.wrapping_add(*column);
                *word = one::<W, T, APPLY, ROTATE>(T::read(*word), offset).write();
            }
        }
        (rest, column, row) = (after, 0, row + 1);
    }
}

/// Adds or takes off the offset of one word.
#[inline(always)]
fn one<const W: usize, T: FloatWord<W>, const APPLY: bool, const ROTATE: bool>(
    word: T,
    offset: u16,
) -> T {
    match (APPLY, ROTATE) {
        (true, true) => word.offset(offset).rotate_left(),
        (true, false) => word.offset(offset),
        (false, true) => word.rotate_right().offset(offset.wrapping_neg()),
        (false, false) => word.offset(offset.wrapping_neg()),
    }
}

/// Words whose sum surely fits an `i32`: they are summed up at a time.
const SUMMED: usize = 1 << 14;

#[inline(always)]
fn sum_words<const W: usize, T: FloatWord<W>>(columns: &[u16], words: &[u8]) -> (i64, u64) {
    let mut total = (0, 0);
    for (i, block) in words.as_chunks().0.chunks(SUMMED).enumerate() {
        let (mut sum, count) = sum_block::<W, T>(block);
        if !columns.is_empty() {
            let columns = &columns[i * SUMMED..][..block.len()];
            sum += sum_columns::<W, T>(columns, block);
        }
        total.0 += i64::from(sum);
        total.1 += u64::from(count);
    }
    total
}

/// Returns the sum of the magnitudes of words, and how many are not zero.
#[inline(always)]
fn sum_block<const W: usize, T: FloatWord<W>>(block: &[[u8; W]]) -> (i32, u32) {
    let (mut sum, mut least) = (0, MASK);
    for word in block {
        let magnitude = T::read(*word).top() & MASK;
        sum += i32::from(magnitude);
        least = least.min(magnitude);
    }
    let mut zeros = 0;
    if least == 0 {
        for word in block {
            zeros += u32::from(T::read(*word).top() & MASK == 0);
        }
    }
    (sum, block.len() as u32 - zeros)
}

/// Returns the sum of the columns of words that are not zero.
#[inline(always)]
fn sum_columns<const W: usize, T: FloatWord<W>>(columns: &[u16], block: &[[u8; W]]) -> i32 {
    let mut sum = 0;
    for (word, column) in block.iter().zip(columns) {
        let magnitude = T::read(*word).top() & MASK;
        sum += if magnitude != 0 { i32::from(*column as i16) } else { 0 };
    }
    sum
}

#[inline(always)]
fn add_words<const W: usize, T: FloatWord<W>>(words: &[u8], sums: &mut [u32], zeros: &mut [u32]) {
    for row in words.as_chunks().0.chunks_exact(sums.len()) {
        for ((word, sum), zeros) in row.iter().zip(&mut *sums).zip(&mut *zeros) {
            let magnitude = T::read(*word).top() & MASK;
            *sum += u32::from(magnitude);
            *zeros += u32::from(magnitude == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> u16 {
        ((i as u32 + 1).wrapping_mul(2_654_435_761) >> 7) as u16
    }

    /// The definition, on numbers.
    fn expected(width: usize, offsets: Offsets<'_>, words: &[u8]) -> Vec<u8> {
        let bits = 8 * width as u32;
        let mut out = Vec::new();
        for (i, word) in words.chunks(width).enumerate() {
            let word = word.iter().rev().fold(0_u128, |word, &byte| (word << 8) | u128::from(byte));
            let (sign, magnitude) = (word >> (bits - 1), word & ((1 << (bits - 1)) - 1));
            let (row, column) =
                ((i + offsets.first) / offsets.row_len, (i + offsets.first) % offsets.row_len);
            let row = match offsets.rows {
                Rows::Same(offset) => offset,
                Rows::Each(rows) => rows[row],
            };
            let offset = row.wrapping_add(*offsets.columns.get(column).unwrap_or(&0));
            let magnitude = (magnitude + (u128::from(offset) << (bits - 16))) % (1 << (bits - 1));
            let word = if offsets.rotate {
                let rotated = ((sign << (bits - 1)) | magnitude) << 1;
                (rotated % (1 << bits)) | sign
            } else {
                (sign << (bits - 1)) | magnitude
            };
            out.extend_from_slice(&word.to_le_bytes()[..width]);
        }
        out
    }

    #[test]
    fn every_backend_agrees_with_the_definition_at_every_tail_length() {
        for (width, n) in [2, 4, 8].into_iter().flat_map(|w| (0..200).map(move |n| (w, n))) {
            let words: Vec<u8> = (0..width * n).map(|i| noise(i) as u8).collect();
            for row_len in [1, 7, 64, 75, 1000] {
                let first = n % row_len;
                let columns: Vec<u16> = (0..row_len).map(|i| noise(i + 9)).collect();
                let rows: Vec<u16> =
                    (0..(first + n).div_ceil(row_len)).map(|i| noise(i + 99)).collect();
                for (rows, columns, rotate) in [
                    (Rows::Each(&rows), &columns[..], true),
                    (Rows::Each(&rows), &[], false),
                    (Rows::Same(noise(n)), &columns, false),
                    (Rows::Same(noise(n)), &[], true),
                ] {
                    let offsets = Offsets { rows, row_len, columns, first, rotate };
                    let expected = expected(width, offsets, &words);
                    for backend in Backend::available() {
                        let mut out = words.clone();
                        apply(backend, width, offsets, &mut out);
                        assert_eq!(out, expected, "{backend}, {n} words of {width}");
                        undo(backend, width, offsets, &mut out);
                        assert_eq!(out, words, "{backend}, {n} words of {width}");
                    }
                }
            }
        }
    }

    #[test]
    fn unfolding_agrees_with_the_definition_at_every_tail_length() {
        for (width, n) in [2, 4, 8].into_iter().flat_map(|w| (0..150).map(move |n| (w, n))) {
            for shift in [1, 4, 7] {
                let mut words: Vec<u8> = (0..width * n).map(|i| noise(i) as u8).collect();
                words
                    .iter_mut()
                    .skip(width - 2)
                    .step_by(width)
                    .for_each(|b| *b &= (1 << shift) - 1);
                let mut expected = words.clone();
                for word in expected.chunks_exact_mut(width) {
                    let (low, high) = (u16::from(word[width - 2]), u16::from(word[width - 1]));
                    let top = (high & 0x80) << 8 | (high & 0x7f) << shift | low;
                    word[width - 2..].copy_from_slice(&top.to_le_bytes());
                }
                for backend in Backend::available() {
                    let mut out = words.clone();
                    unfold(backend, width, shift, &mut out);
                    assert_eq!(out, expected, "{backend}, {n} words of {width}");
                }
            }
        }
    }

    #[test]
    fn sums_are_of_magnitudes_that_are_not_zero() {
        Backend::available().for_each(sums_of_a_back_end);
    }

    fn sums_of_a_back_end(backend: Backend) {
        let words = [0x8000_u16, 0x3f80, 0xbf81, 0].map(u16::to_le_bytes);
        assert_eq!(sum(backend, 2, &[], words.as_flattened()), (0x3f80 + 0x3f81, 2));
        assert_eq!(
            sum(backend, 2, &[7, 1, 2_u16.wrapping_neg(), 9], words.as_flattened()),
            (0x3f80 + 0x3f80, 2)
        );
        let (mut sums, mut zeros) = ([0; 4], [0; 4]);
        add_columns(backend, 2, words.as_flattened(), &mut sums, &mut zeros);
        add_columns(backend, 2, words.as_flattened(), &mut sums, &mut zeros);
        assert_eq!((sums, zeros), ([0, 2 * 0x3f80, 2 * 0x3f81, 0], [2, 0, 0, 2]));

        for (width, n) in [2, 4, 8].into_iter().flat_map(|w| (1..100).map(move |n| (w, n))) {
            // Zeros at some places.
            let word = |i: usize| if noise(i).is_multiple_of(9) { 0 } else { noise(3 * i) };
            let magnitudes: Vec<u16> = (0..3 * n).map(|i| word(i) & MASK).collect();
            let words = (0..3 * n).flat_map(|i| {
                let mut bytes = [noise(i) as u8; 8];
                bytes[width - 2..width].copy_from_slice(&word(i).to_le_bytes());
                bytes.into_iter().take(width)
            });
            let words: Vec<u8> = words.collect();
            let columns: Vec<u16> = (0..3 * n).map(|i| noise(i + 7)).collect();
            let expected = magnitudes
                .iter()
                .zip(&columns)
                .filter(|&(&m, _)| m != 0)
                .fold((0, 0), |(sum, count), (&m, &c)| {
                    (sum + i64::from(m) + i64::from(c as i16), count + 1)
                });
            assert_eq!(sum(backend, width, &columns, &words), expected, "{n} words of {width}");
            let (mut sums, mut zeros) = (vec![0; n], vec![0; n]);
            add_columns(backend, width, &words, &mut sums, &mut zeros);
            for (column, (sum, zeros)) in sums.into_iter().zip(zeros).enumerate() {
                let of = magnitudes.iter().skip(column).step_by(n);
                assert_eq!(sum, of.clone().map(|&m| u32::from(m)).sum());
                assert_eq!(zeros as usize, of.filter(|&&m| m == 0).count());
            }
        }

        let long = vec![0xff; 2 * 3 * SUMMED];
        assert_eq!(sum(backend, 2, &[], &long), (3 * 0x7fff * SUMMED as i64, 3 * SUMMED as u64));
        let columns = vec![0x7fff; 3 * SUMMED];
        assert_eq!(sum(backend, 2, &columns, &long).0, 3 * 2 * 0x7fff * SUMMED as i64);
    }
}
