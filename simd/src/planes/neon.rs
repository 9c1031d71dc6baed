//! One lane of 16 bytes.

use core::arch::aarch64::uint8x16_t;

use pulp::aarch64::Neon;
use pulp::cast;

use super::rounds::{self, PlaneUnit, Row};
use super::scalar::WordBytes;

/// Splits words. Each plane takes as many bytes as there are words.
pub(super) fn split<const W: usize>(
    token: Neon,
    rotate: bool,
    words: &[[u8; W]],
    planes: [&mut [u8]; W],
) where
    [u8; W]: WordBytes,
{
    token.vectorize(
        #[inline(always)]
        || rounds::split(token, rotate, words, planes),
    );
}

/// Merges planes. Each has as many bytes as there are words.
pub(super) fn merge<const W: usize>(
    token: Neon,
    rotate: bool,
    planes: [&[u8]; W],
    words: &mut [[u8; W]],
) where
    [u8; W]: WordBytes,
{
    token.vectorize(
        #[inline(always)]
        || rounds::merge(token, rotate, planes, words),
    );
}

impl PlaneUnit<1> for Neon {
    type Vector = uint8x16_t;

    #[inline(always)]
    fn zero(self) -> uint8x16_t {
        cast([0u8; 16])
    }

    #[inline(always)]
    fn load_words<const W: usize>(self, block: &[[Row; W]; 1]) -> [uint8x16_t; W] {
        let mut vectors = [self.zero(); W];
        for (vector, row) in vectors.iter_mut().zip(&block[0]) {
            *vector = cast(*row);
        }
        vectors
    }

    #[inline(always)]
    fn store_words<const W: usize>(self, vectors: [uint8x16_t; W], block: &mut [[Row; W]; 1]) {
        for (row, vector) in block[0].iter_mut().zip(vectors) {
            *row = cast(vector);
        }
    }

    #[inline(always)]
    fn load_plane<const W: usize>(self, plane: &[Row; 1]) -> uint8x16_t {
        cast(*plane)
    }

    #[inline(always)]
    fn store_plane<const W: usize>(self, vector: uint8x16_t, plane: &mut [Row; 1]) {
        *plane = cast(vector);
    }

    #[inline(always)]
    fn unzip(self, a: uint8x16_t, b: uint8x16_t) -> (uint8x16_t, uint8x16_t) {
        (self.neon.vuzp1q_u8(a, b), self.neon.vuzp2q_u8(a, b))
    }

    #[inline(always)]
    fn zip(self, even: uint8x16_t, odd: uint8x16_t) -> (uint8x16_t, uint8x16_t) {
        (self.neon.vzip1q_u8(even, odd), self.neon.vzip2q_u8(even, odd))
    }

    #[inline(always)]
    fn rotate_left<const W: usize>(self, words: uint8x16_t) -> uint8x16_t {
        let neon = self.neon;
        // Shift right by all bits but one, then insert the rest above.
        match W {
            2 => {
                let words = cast(words);
                cast(neon.vsliq_n_u16::<1>(neon.vshrq_n_u16::<15>(words), words))
            }
            4 => {
                let words = cast(words);
                cast(neon.vsliq_n_u32::<1>(neon.vshrq_n_u32::<31>(words), words))
            }
            _ => {
                let words = cast(words);
                cast(neon.vsliq_n_u64::<1>(neon.vshrq_n_u64::<63>(words), words))
            }
        }
    }

    #[inline(always)]
    fn rotate_right<const W: usize>(self, words: uint8x16_t) -> uint8x16_t {
        let neon = self.neon;
        // Shift right by one bit, then insert the lowest one at the top.
        match W {
            2 => {
                let words = cast(words);
                cast(neon.vsliq_n_u16::<15>(neon.vshrq_n_u16::<1>(words), words))
            }
            4 => {
                let words = cast(words);
                cast(neon.vsliq_n_u32::<31>(neon.vshrq_n_u32::<1>(words), words))
            }
            _ => {
                let words = cast(words);
                cast(neon.vsliq_n_u64::<63>(neon.vshrq_n_u64::<1>(words), words))
            }
        }
    }
}
