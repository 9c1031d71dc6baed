//! Two lanes of 16 bytes.

use core::arch::x86_64::__m256i;

use pulp::cast;
use pulp::x86::V3;

use super::rounds::{self, PlaneUnit, Row};
use super::scalar::WordBytes;

/// Splits words. Each plane takes as many bytes as there are words.
pub(super) fn split<const W: usize>(
    token: V3,
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
    token: V3,
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

impl PlaneUnit<2> for V3 {
    type Vector = __m256i;

    #[inline(always)]
    fn zero(self) -> __m256i {
        self.avx._mm256_setzero_si256()
    }

    // Vector r is row r of both groups.

    #[inline(always)]
    fn load_words<const W: usize>(self, block: &[[Row; W]; 2]) -> [__m256i; W] {
        let mut vectors = [self.zero(); W];
        for (r, vector) in vectors.iter_mut().enumerate() {
            *vector = cast([block[0][r], block[1][r]]);
        }
        vectors
    }

    #[inline(always)]
    fn store_words<const W: usize>(self, vectors: [__m256i; W], block: &mut [[Row; W]; 2]) {
        // In the order of memory, so that a cache line is written at once.
        for (l, group) in block.iter_mut().enumerate() {
            for (row, vector) in group.iter_mut().zip(vectors) {
                *row = cast::<_, [Row; 2]>(vector)[l];
            }
        }
    }

    #[inline(always)]
    fn load_plane<const W: usize>(self, plane: &[Row; 2]) -> __m256i {
        cast(*plane)
    }

    #[inline(always)]
    fn store_plane<const W: usize>(self, vector: __m256i, plane: &mut [Row; 2]) {
        *plane = cast(vector);
    }

    #[inline(always)]
    fn unzip(self, a: __m256i, b: __m256i) -> (__m256i, __m256i) {
        let V3 { avx, avx2, .. } = self;
        let low = avx._mm256_set1_epi16(0xff);
        // No value is above 255, so packing saturates none.
        (
            avx2._mm256_packus_epi16(avx2._mm256_and_si256(a, low), avx2._mm256_and_si256(b, low)),
            avx2._mm256_packus_epi16(
                avx2._mm256_srli_epi16::<8>(a),
                avx2._mm256_srli_epi16::<8>(b),
            ),
        )
    }

    #[inline(always)]
    fn zip(self, even: __m256i, odd: __m256i) -> (__m256i, __m256i) {
        (self.avx2._mm256_unpacklo_epi8(even, odd), self.avx2._mm256_unpackhi_epi8(even, odd))
    }

    #[inline(always)]
    fn rotate_left<const W: usize>(self, words: __m256i) -> __m256i {
        let avx2 = self.avx2;
        let (shifted, top) = match W {
            2 => (avx2._mm256_slli_epi16::<1>(words), avx2._mm256_srli_epi16::<15>(words)),
            4 => (avx2._mm256_slli_epi32::<1>(words), avx2._mm256_srli_epi32::<31>(words)),
            _ => (avx2._mm256_slli_epi64::<1>(words), avx2._mm256_srli_epi64::<63>(words)),
        };
        avx2._mm256_or_si256(shifted, top)
    }

    #[inline(always)]
    fn rotate_right<const W: usize>(self, words: __m256i) -> __m256i {
        let avx2 = self.avx2;
        let (shifted, bottom) = match W {
            2 => (avx2._mm256_srli_epi16::<1>(words), avx2._mm256_slli_epi16::<15>(words)),
            4 => (avx2._mm256_srli_epi32::<1>(words), avx2._mm256_slli_epi32::<31>(words)),
            _ => (avx2._mm256_srli_epi64::<1>(words), avx2._mm256_slli_epi64::<63>(words)),
        };
        avx2._mm256_or_si256(shifted, bottom)
    }
}
