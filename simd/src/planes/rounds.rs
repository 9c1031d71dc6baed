//! The algorithm that all vector back-ends share.
//!
//! A *row* is 16 bytes, and W rows of elements are a *group*: 16 elements of W bytes. Unzipping two
//! rows puts their even bytes into one row and their odd bytes into another. A round unzips each
//! pair of neighbours in a group, and then puts the even results before the odd ones; after log2 W
//! rounds row p is byte p of all 16 elements, in order. Zipping undoes it, round by round.
//!
//! A vector of L lanes works on L groups at once, a *block* of W vectors, and no lane ever meets
//! another in a round. Which rows share a vector is up to the back-end, as long as `store_plane`
//! puts them back in order.
//!
//! Loops over W and L are written out, not mapped with closures: a closure that the standard
//! library calls is compiled without the features of the vector unit, and nothing is inlined any
//! more.

use super::scalar::{self, WordBytes};
use crate::prefetch;

/// How many bytes ahead words are fetched.
const AHEAD: usize = 4096;

/// 16 bytes: a lane of a vector.
pub(super) type Row = [u8; 16];

/// A vector unit of L lanes, with the operations that the algorithm needs.
pub(super) trait PlaneUnit<const L: usize>: Copy {
    /// L rows.
    type Vector: Copy;

    fn zero(self) -> Self::Vector;

    /// Loads a block of elements, each vector of whole rows, and those of a lane in the order of
    /// memory.
    fn load_words<const W: usize>(self, block: &[[Row; W]; L]) -> [Self::Vector; W];
    /// Undoes `load_words`.
    fn store_words<const W: usize>(self, vectors: [Self::Vector; W], block: &mut [[Row; W]; L]);

    /// Loads one plane of a block: undoes `store_plane`.
    fn load_plane<const W: usize>(self, plane: &[Row; L]) -> Self::Vector;
    /// Stores one plane of a block, as the rounds have left it.
    fn store_plane<const W: usize>(self, vector: Self::Vector, plane: &mut [Row; L]);

    /// Returns the even bytes of `a` and `b`, and their odd bytes, lane by lane.
    fn unzip(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// Undoes `unzip`.
    fn zip(self, even: Self::Vector, odd: Self::Vector) -> (Self::Vector, Self::Vector);

    /// Rotates each word of W bytes left by one bit.
    fn rotate_left<const W: usize>(self, words: Self::Vector) -> Self::Vector;
    /// Rotates each word of W bytes right by one bit.
    fn rotate_right<const W: usize>(self, words: Self::Vector) -> Self::Vector;
}

/// Splits words. Each plane takes as many bytes as there are words.
#[inline(always)]
pub(super) fn split<U: PlaneUnit<L>, const L: usize, const W: usize>(
    unit: U,
    rotate: bool,
    words: &[[u8; W]],
    planes: [&mut [u8]; W],
) where
    [u8; W]: WordBytes,
{
    let head = unaligned::<L>(planes[0]).min(words.len());
    let (words_head, words) = words.split_at(head);
    let mut planes_head = planes;
    let mut planes =
        planes_head.each_mut().map(|plane| plane.split_off_mut(head..).expect("n bytes"));
    scalar::split(rotate, words_head, planes_head);

    let rows = words.as_flattened().as_chunks().0;
    let blocks: &[[[Row; W]; L]] = rows.as_chunks().0.as_chunks().0;
    for (i, block) in blocks.iter().enumerate() {
        for line in block.as_flattened().as_flattened().chunks(prefetch::LINE) {
            prefetch::read_ahead(line, AHEAD);
        }
        let mut vectors = unit.load_words(block);
        if rotate {
            for vector in &mut vectors {
                *vector = unit.rotate_left::<W>(*vector);
            }
        }
        for _ in 0..W.ilog2() {
            let pairs = vectors;
            for r in 0..W / 2 {
                (vectors[r], vectors[r + W / 2]) = unit.unzip(pairs[2 * r], pairs[2 * r + 1]);
            }
        }
        for (plane, vector) in planes.iter_mut().zip(vectors) {
            let plane = plane.as_chunks_mut().0.as_chunks_mut().0;
            unit.store_plane::<W>(vector, &mut plane[i]);
        }
    }

    let done = blocks.len() * L * 16;
    let planes_tail = planes.map(|plane| &mut plane[done..]);
    scalar::split(rotate, &words[done..], planes_tail);
}

/// Merges planes. Each has as many bytes as there are words.
#[inline(always)]
pub(super) fn merge<U: PlaneUnit<L>, const L: usize, const W: usize>(
    unit: U,
    rotate: bool,
    planes: [&[u8]; W],
    words: &mut [[u8; W]],
) where
    [u8; W]: WordBytes,
{
    let block = L * 16;
    let n = words.len();
    if n < block {
        return scalar::merge(rotate, planes, words);
    }
    // The first and the last block overlap with others, so that those between are aligned.
    let head = unaligned::<L>(words.as_flattened()) / W;
    if head > 0 {
        merge_blocks(unit, rotate, planes, &mut words[..block]);
    }
    let head = head.min(n);
    merge_blocks(unit, rotate, planes.map(|plane| &plane[head..]), &mut words[head..]);
    if !(n - head).is_multiple_of(block) {
        let last = n - block;
        merge_blocks(unit, rotate, planes.map(|plane| &plane[last..]), &mut words[last..]);
    }
}

/// Merges the whole blocks that words begin with.
#[inline(always)]
fn merge_blocks<U: PlaneUnit<L>, const L: usize, const W: usize>(
    unit: U,
    rotate: bool,
    planes: [&[u8]; W],
    words: &mut [[u8; W]],
) {
    let rows = words.as_flattened_mut().as_chunks_mut().0;
    let blocks: &mut [[[Row; W]; L]] = rows.as_chunks_mut().0.as_chunks_mut().0;
    for (i, block) in blocks.iter_mut().enumerate() {
        for line in block.as_flattened().as_flattened().chunks(prefetch::LINE) {
            prefetch::write_ahead(line, AHEAD);
        }
        let mut vectors = [unit.zero(); W];
        for (vector, plane) in vectors.iter_mut().zip(planes) {
            let plane = plane.as_chunks().0.as_chunks().0;
            *vector = unit.load_plane::<W>(&plane[i]);
        }
        for _ in 0..W.ilog2() {
            let halves = vectors;
            for r in 0..W / 2 {
                (vectors[2 * r], vectors[2 * r + 1]) = unit.zip(halves[r], halves[r + W / 2]);
            }
        }
        if rotate {
            for vector in &mut vectors {
                *vector = unit.rotate_right::<W>(*vector);
            }
        }
        unit.store_words(vectors, block);
    }
}

/// Returns how many bytes of a destination come before the first that is aligned to a vector.
///
/// Most stores begin after these: stores across cache lines can cost four times all the rest, and
/// large allocations tend to start 16 bytes into a page.
#[inline(always)]
fn unaligned<const L: usize>(destination: &[u8]) -> usize {
    destination.as_ptr().align_offset(L * 16)
}
