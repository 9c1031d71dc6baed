//! Four lanes of 16 bytes.

use core::arch::x86_64::__m512i;

use pulp::cast;
use pulp::x86::V4;

use super::rounds::{self, Row, Unit};
use super::scalar::Word;

/// Each plane takes as many bytes as there are words.
pub(super) fn split<const W: usize>(
    token: V4,
    rotate: bool,
    words: &[[u8; W]],
    planes: [&mut [u8]; W],
) where
    [u8; W]: Word,
{
    token.vectorize(
        #[inline(always)]
        || rounds::split(token, rotate, words, planes),
    );
}

/// Each plane has as many bytes as there are words.
pub(super) fn merge<const W: usize>(
    token: V4,
    rotate: bool,
    planes: [&[u8]; W],
    words: &mut [[u8; W]],
) where
    [u8; W]: Word,
{
    token.vectorize(
        #[inline(always)]
        || rounds::merge(token, rotate, planes, words),
    );
}

impl Unit<4> for V4 {
    type Vector = __m512i;

    #[inline(always)]
    fn load(self, rows: [Row; 4]) -> __m512i {
        cast(rows)
    }

    #[inline(always)]
    fn store(self, vector: __m512i) -> [Row; 4] {
        cast(vector)
    }

    #[inline(always)]
    fn unzip(self, a: __m512i, b: __m512i) -> (__m512i, __m512i) {
        let V4 { avx512f, avx512bw, .. } = self;
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
        let V4 { avx512f, avx512bw, .. } = self;
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
        let V4 { avx512f, avx512bw, .. } = self;
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
