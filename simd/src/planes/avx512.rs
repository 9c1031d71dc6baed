//! Four lanes of 16 bytes.

use core::arch::x86_64::__m512i;

use pulp::cast;

use super::rounds::{self, PlaneUnit, Row};
use super::scalar::WordBytes;
use crate::backend::Avx512;

/// Splits words. Each plane takes as many bytes as there are words.
pub(super) fn split<const W: usize>(
    token: Avx512,
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
    token: Avx512,
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

impl PlaneUnit<4> for Avx512 {
    type Vector = __m512i;

    #[inline(always)]
    fn zero(self) -> __m512i {
        self.avx512f._mm512_setzero_si512()
    }

    // Vector r is rows 4r to 4r + 3 of a block, as they lie in memory. After the rounds, piece r of
    // a plane's lane l (of W pieces) is from row 4r + l: transposing the pieces puts them in order.

    #[inline(always)]
    fn load_words<const W: usize>(self, block: &[[Row; W]; 4]) -> [__m512i; W] {
        let lines: &[[Row; 4]] = block.as_flattened().as_chunks().0;
        let mut vectors = [self.zero(); W];
        for (vector, line) in vectors.iter_mut().zip(lines) {
            *vector = cast(*line);
        }
        vectors
    }

    #[inline(always)]
    fn store_words<const W: usize>(self, vectors: [__m512i; W], block: &mut [[Row; W]; 4]) {
        let lines: &mut [[Row; 4]] = block.as_flattened_mut().as_chunks_mut().0;
        for (line, vector) in lines.iter_mut().zip(vectors) {
            *line = cast(vector);
        }
    }

    #[inline(always)]
    fn load_plane<const W: usize>(self, plane: &[Row; 4]) -> __m512i {
        let order = cast(const { transposed(W, 4) });
        self.avx512bw._mm512_permutexvar_epi16(order, cast(*plane))
    }

    #[inline(always)]
    fn store_plane<const W: usize>(self, vector: __m512i, plane: &mut [Row; 4]) {
        let order = cast(const { transposed(4, W) });
        *plane = cast(self.avx512bw._mm512_permutexvar_epi16(order, vector));
    }

    #[inline(always)]
    fn unzip(self, a: __m512i, b: __m512i) -> (__m512i, __m512i) {
        let Avx512 { avx512f, avx512bw, .. } = self;
        let low = avx512f._mm512_set1_epi16(0xff);
        // No value is above 255, so packing saturates none.
        (
            avx512bw._mm512_packus_epi16(
                avx512f._mm512_and_si512(a, low),
                avx512f._mm512_and_si512(b, low),
            ),
            avx512bw._mm512_packus_epi16(
                avx512bw._mm512_srli_epi16::<8>(a),
                avx512bw._mm512_srli_epi16::<8>(b),
            ),
        )
    }

    #[inline(always)]
    fn zip(self, even: __m512i, odd: __m512i) -> (__m512i, __m512i) {
        (
            self.avx512bw._mm512_unpacklo_epi8(even, odd),
            self.avx512bw._mm512_unpackhi_epi8(even, odd),
        )
    }

    #[inline(always)]
    fn rotate_left<const W: usize>(self, words: __m512i) -> __m512i {
        let Avx512 { avx512f, avx512bw, .. } = self;
        match W {
            2 => avx512f._mm512_or_si512(
                avx512bw._mm512_slli_epi16::<1>(words),
                avx512bw._mm512_srli_epi16::<15>(words),
            ),
            4 => avx512f._mm512_rol_epi32::<1>(words),
            _ => avx512f._mm512_rol_epi64::<1>(words),
        }
    }

    #[inline(always)]
    fn rotate_right<const W: usize>(self, words: __m512i) -> __m512i {
        let Avx512 { avx512f, avx512bw, .. } = self;
        match W {
            2 => avx512f._mm512_or_si512(
                avx512bw._mm512_srli_epi16::<1>(words),
                avx512bw._mm512_slli_epi16::<15>(words),
            ),
            4 => avx512f._mm512_ror_epi32::<1>(words),
            _ => avx512f._mm512_ror_epi64::<1>(words),
        }
    }
}

/// For a vector that is a table of `rows` times `columns` pieces, returns where each 16-bit unit of
/// the transposed table comes from.
const fn transposed(rows: usize, columns: usize) -> [u16; 32] {
    let units = 32 / (rows * columns);
    let mut order = [0; 32];
    let mut i = 0;
    while i < 32 {
        let (piece, unit) = (i / units, i % units);
        let (column, row) = (piece / rows, piece % rows);
        order[i] = ((row * columns + column) * units + unit) as u16;
        i += 1;
    }
    order
}
