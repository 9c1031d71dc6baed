//! For bytes that are mostly one of a few values, as exponents are. The common values are counted
//! by comparing, a whole vector at a time; other bytes are put aside for the scalar reference.

use core::arch::x86_64::*;

use pulp::cast;

use super::common::{COMMON, SAMPLE, most_common};
use super::scalar;

const WIDTH: usize = 64;

/// Room for bytes put aside.
const ASIDE: usize = 64 * WIDTH;

/// Adds to `counts` how often each byte value occurs.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
pub(super) fn add(bytes: &[u8], counts: &mut [u32; 256]) {
    let (common, covered) = most_common(bytes);
    if covered < SAMPLE / 4 * 3 {
        return scalar::add(bytes, counts);
    }

    let mut values = [_mm512_setzero_si512(); COMMON];
    for (value, &byte) in values.iter_mut().zip(&common) {
        *value = _mm512_set1_epi8(byte as i8);
    }
    let mut found = [0u64; COMMON];
    let mut aside = [0; ASIDE];
    let mut used = 0;
    let (vectors, tail) = bytes.as_chunks::<WIDTH>();
    for vector in vectors {
        let vector: __m512i = cast(*vector);
        let mut others = !0;
        for (found, &value) in found.iter_mut().zip(&values) {
            let equal = _mm512_cmpeq_epi8_mask(vector, value);
            *found += u64::from(equal.count_ones());
            others &= !equal;
        }
        // A whole store: the next one overwrites the bytes beyond those that count.
        aside[used..][..WIDTH]
            .copy_from_slice(&cast::<_, [u8; WIDTH]>(_mm512_maskz_compress_epi8(others, vector)));
        used += others.count_ones() as usize;
        if used > ASIDE - WIDTH {
            scalar::add(&aside[..used], counts);
            used = 0;
        }
    }
    scalar::add(&aside[..used], counts);
    scalar::add(tail, counts);
    for (&byte, found) in common.iter().zip(found) {
        let count = &mut counts[usize::from(byte)];
        *count = count.wrapping_add(found as u32);
    }
}
