//! For bytes that are mostly one of a few values, as exponents are. The common values are counted
//! by comparing, a whole vector at a time; other bytes are put aside for the scalar reference.

use core::arch::x86_64::*;

use pulp::cast;

use super::scalar;

/// How many values are counted by comparing.
const COMMON: usize = 8;

/// Bytes of the sample that the common values are chosen by.
const SAMPLE: usize = 1024;

/// The fewest bytes that are worth the preparations.
pub(super) const MIN_LEN: usize = 8 * SAMPLE;

const WIDTH: usize = 64;

/// Room for bytes put aside.
const ASIDE: usize = 64 * WIDTH;

/// Adds to `counts` how often each byte value occurs.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
pub(super) fn add(bytes: &[u8], counts: &mut [u32; 256]) {
    let Some((sample, _)) = bytes.split_at_checked(SAMPLE) else {
        return scalar::add(bytes, counts);
    };
    let mut sampled = [0; 256];
    scalar::add(sample, &mut sampled);
    let (common, covered) = most_common(sampled);
    if covered < SAMPLE as u32 * 3 / 4 {
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

/// Returns the values with the highest counts, each once, and the sum of these counts.
fn most_common(mut counts: [u32; 256]) -> ([u8; COMMON], u32) {
    let mut common = [0; COMMON];
    let mut covered = 0;
    // Counts are of a sample, so there is room above them to make all different.
    for (byte, count) in counts.iter_mut().enumerate() {
        *count = *count << 8 | byte as u32;
    }
    for value in &mut common {
        let best = counts.iter().copied().max().unwrap_or(0);
        *value = best as u8;
        covered += best >> 8;
        counts[usize::from(*value)] = 0;
    }
    (common, covered)
}
