//! The algorithm that all vector back-ends share.
//!
//! A *row* is 16 bytes, and W rows of elements are a *group*: 16 elements of
//! W bytes. Unzipping two rows puts their even bytes into one row and their
//! odd bytes into another. Unzipping each pair of neighbours in a group, and
//! then putting the even results before the odd ones, is a round; after
//! log2 W rounds row p is byte p of all 16 elements, in order. Zipping undoes
//! it, round by round.
//!
//! A vector of L lanes works on L groups at once, a *block*: its lane l is of
//! group l, and no lane ever meets another. Only loads and stores bring the
//! rows of a vector together.

use super::scalar::{self, Word};

/// 16 bytes: a lane of a vector.
pub(super) type Row = [u8; 16];

/// What the algorithm needs of a vector unit of L lanes.
pub(super) trait Unit<const L: usize>: Copy {
    /// L rows.
    type Vector: Copy;

    fn load(self, rows: [Row; L]) -> Self::Vector;
    fn store(self, vector: Self::Vector) -> [Row; L];

    /// The even bytes of `a` and `b`, and their odd bytes, lane by lane.
    fn unzip(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// Undoes `unzip`.
    fn zip(self, even: Self::Vector, odd: Self::Vector) -> (Self::Vector, Self::Vector);

    /// Rotates each word of W bytes left by one bit.
    fn rotate_left<const W: usize>(self, words: Self::Vector) -> Self::Vector;
    /// Rotates each word of W bytes right by one bit.
    fn rotate_right<const W: usize>(self, words: Self::Vector) -> Self::Vector;
}

/// Each plane takes as many bytes as there are words.
#[inline(always)]
pub(super) fn split<U: Unit<L>, const L: usize, const W: usize>(
    unit: U,
    rotate: bool,
    words: &[[u8; W]],
    mut planes: [&mut [u8]; W],
) where
    [u8; W]: Word,
{
    let rows = words.as_flattened().as_chunks().0;
    let blocks: &[[[Row; W]; L]] = rows.as_chunks().0.as_chunks().0;
    for (i, block) in blocks.iter().enumerate() {
        let mut vectors = [unit.load([[0; 16]; L]); W];
        for r in 0..W {
            let mut rows = [[0; 16]; L];
            for l in 0..L {
                rows[l] = block[l][r];
            }
            vectors[r] = unit.load(rows);
            if rotate {
                vectors[r] = unit.rotate_left::<W>(vectors[r]);
            }
        }
        for _ in 0..W.ilog2() {
            let pairs = vectors;
            for r in 0..W / 2 {
                (vectors[r], vectors[r + W / 2]) = unit.unzip(pairs[2 * r], pairs[2 * r + 1]);
            }
        }
        for p in 0..W {
            let plane = &mut planes[p].as_chunks_mut().0.as_chunks_mut().0;
            plane[i] = unit.store(vectors[p]);
        }
    }
    let done = blocks.len() * L * 16;
    scalar::split(
        rotate,
        &words[done..],
        planes.map(|plane| &mut plane[done..]),
    );
}

/// Each plane has as many bytes as there are words.
#[inline(always)]
pub(super) fn merge<U: Unit<L>, const L: usize, const W: usize>(
    unit: U,
    rotate: bool,
    planes: [&[u8]; W],
    words: &mut [[u8; W]],
) where
    [u8; W]: Word,
{
    let rows = words.as_flattened_mut().as_chunks_mut().0;
    let blocks: &mut [[[Row; W]; L]] = rows.as_chunks_mut().0.as_chunks_mut().0;
    for (i, block) in blocks.iter_mut().enumerate() {
        let mut vectors = [unit.load([[0; 16]; L]); W];
        for p in 0..W {
            let plane = planes[p].as_chunks().0.as_chunks().0;
            vectors[p] = unit.load(plane[i]);
        }
        for _ in 0..W.ilog2() {
            let halves = vectors;
            for r in 0..W / 2 {
                (vectors[2 * r], vectors[2 * r + 1]) = unit.zip(halves[r], halves[r + W / 2]);
            }
        }
        for r in 0..W {
            if rotate {
                vectors[r] = unit.rotate_right::<W>(vectors[r]);
            }
            let rows = unit.store(vectors[r]);
            for l in 0..L {
                block[l][r] = rows[l];
            }
        }
    }
    let done = blocks.len() * L * 16;
    scalar::merge(
        rotate,
        planes.map(|plane| &plane[done..]),
        &mut words[done..],
    );
}
