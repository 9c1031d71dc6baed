//! For bytes that are nearly all one of a few values, as exponents are. The common values are
//! counted by comparing, a whole vector at a time; each other byte by itself.

use core::arch::x86_64::*;

use pulp::cast;

use super::common::{COMMON, SAMPLE, most_common};
use super::scalar;

const WIDTH: usize = 32;

/// Vectors after which the count of a lane may be full.
const BLOCK: usize = 255;

/// Adds to `counts` how often each byte value occurs.
#[target_feature(enable = "avx2,bmi1")]
pub(super) fn add(bytes: &[u8], counts: &mut [u32; 256]) {
    let (common, covered) = most_common(bytes);
    if covered < SAMPLE / 8 * 7 {
        return scalar::add(bytes, counts);
    }
    let zero = _mm256_setzero_si256();
    let mut values = [zero; COMMON];
    for (value, &byte) in values.iter_mut().zip(&common) {
        *value = _mm256_set1_epi8(byte as i8);
    }
    let mut found = [zero; COMMON];
    let (vectors, tail) = bytes.as_chunks::<WIDTH>();
    for block in vectors.chunks(BLOCK) {
        let mut lanes = [zero; COMMON];
        for bytes in block {
            let vector: __m256i = cast(*bytes);
            let mut known = zero;
            for (lanes, &value) in lanes.iter_mut().zip(&values) {
                let equal = _mm256_cmpeq_epi8(vector, value);
                // Equal is -1.
                *lanes = _mm256_sub_epi8(*lanes, equal);
                known = _mm256_or_si256(known, equal);
            }
            let mut others = !(_mm256_movemask_epi8(known) as u32);
            while others != 0 {
                let count = &mut counts[usize::from(bytes[others.trailing_zeros() as usize])];
                *count = count.wrapping_add(1);
                others &= others - 1;
            }
        }
        for (found, lanes) in found.iter_mut().zip(lanes) {
            *found = _mm256_add_epi64(*found, _mm256_sad_epu8(lanes, zero));
        }
    }
    scalar::add(tail, counts);
    for (&byte, found) in common.iter().zip(found) {
        let found: [u64; 4] = cast(found);
        let count = &mut counts[usize::from(byte)];
        *count = count.wrapping_add(found.iter().sum::<u64>() as u32);
    }
}
