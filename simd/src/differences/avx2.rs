//! Eight words at a time: the next differences of each class go to the places of the class.

use core::arch::x86_64::*;

use pulp::cast;

use super::{Classes, MAX_CLASSES};
use crate::alias::avx2::EXPAND;

/// For each mask of eight words, the places of the differences that words take; 0 for the others.
static EXPAND32: [[u32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut word, mut next) = (0, 0);
        while word < 8 {
            if mask >> word & 1 == 1 {
                table[mask][word] = next;
                next += 1;
            }
            word += 1;
        }
        mask += 1;
    }
    table
};

/// Returns one less than the first exponent of each class but the first; where there is no class,
/// a number that no exponent is above.
fn below(classes: &Classes) -> [i16; MAX_CLASSES - 1] {
    let mut below = [i16::from(u8::MAX); MAX_CLASSES - 1];
    for (below, &first) in below.iter_mut().zip(classes.firsts()) {
        *below = i16::from(first) - 1;
    }
    below
}

/// Takes masks of the words that are in class 1 or later, in 2 or later, and in 3, apart.
fn masks([first, second, third]: [u8; MAX_CLASSES - 1]) -> [u8; MAX_CLASSES] {
    [!first, first & !second, second & !third, third]
}

/// Adds differences to words of 16 bits; returns the number of bytes that are done. `places` move
/// past the differences that were taken.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn add16(
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    match classes.count() {
        1 | 2 => add16_of::<2>(classes, places, differences, base, out),
        3 => add16_of::<3>(classes, places, differences, base, out),
        _ => add16_of::<4>(classes, places, differences, base, out),
    }
}

#[target_feature(enable = "avx2,popcnt")]
fn add16_of<const N: usize>(
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    let below = below(classes).map(|below| _mm256_set1_epi16(below));
    let (zero, one) = (_mm256_setzero_si256(), _mm256_set1_epi16(1));
    let keep = if classes.is_alone(0) { zero } else { _mm256_set1_epi16(-1) };
    let rounds = base.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<32>().0);
    let (mut at, mut done) = (*places, 0);
    for (base, out) in rounds {
        let base: __m256i = cast(*base);
        let exponents = _mm256_srli_epi16::<8>(_mm256_slli_epi16::<1>(base));
        let above = below.map(|below| _mm256_cmpgt_epi16(exponents, below));
        // The masks of eight words are in bytes 0 and 2.
        let above_masks =
            above.map(|above| _mm256_movemask_epi8(_mm256_packs_epi16(above, zero)) as u32);
        let mut halves = [_mm_setzero_si128(); 2];
        for (half, folded) in halves.iter_mut().enumerate() {
            let masks = masks(above_masks.map(|mask| (mask >> (16 * half)) as u8));
            for (place, mask) in at[..N].iter_mut().zip(masks) {
                let next = differences[2 * *place..].first_chunk::<16>().expect("padding");
                let order = cast(EXPAND[usize::from(mask)]);
                *folded = _mm_or_si128(*folded, _mm_shuffle_epi8(cast(*next), order));
                *place += mask.count_ones() as usize;
            }
        }
        let folded = _mm256_set_m128i(halves[1], halves[0]);
        let odd = _mm256_sub_epi16(zero, _mm256_and_si256(folded, one));
        let difference = _mm256_xor_si256(_mm256_srli_epi16::<1>(folded), odd);
        let base = _mm256_and_si256(base, _mm256_or_si256(above[0], keep));
        *out = cast(rise16(_mm256_add_epi16(rise16(base), difference)));
        done += 32;
    }
    *places = at;
    done
}

#[target_feature(enable = "avx2")]
fn rise16(words: __m256i) -> __m256i {
    _mm256_xor_si256(words, _mm256_srli_epi16::<1>(_mm256_srai_epi16::<15>(words)))
}

/// As [`add16`], for words of 32 bits.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn add32(
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    match classes.count() {
        1 | 2 => add32_of::<2>(classes, places, differences, base, out),
        3 => add32_of::<3>(classes, places, differences, base, out),
        _ => add32_of::<4>(classes, places, differences, base, out),
    }
}

#[target_feature(enable = "avx2,popcnt")]
fn add32_of<const N: usize>(
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    let below = below(classes).map(|below| _mm256_set1_epi32(below.into()));
    let (zero, one) = (_mm256_setzero_si256(), _mm256_set1_epi32(1));
    let all = _mm256_set1_epi32(-1);
    let keep = if classes.is_alone(0) { zero } else { all };
    let rounds = base.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<32>().0);
    let (mut at, mut done) = (*places, 0);
    for (base, out) in rounds {
        let base: __m256i = cast(*base);
        let exponents = _mm256_srli_epi32::<24>(_mm256_slli_epi32::<1>(base));
        let above = below.map(|below| _mm256_cmpgt_epi32(exponents, below));
        let masks = masks(above.map(|above| _mm256_movemask_ps(_mm256_castsi256_ps(above)) as u8));
        let [first, second, third] = above;
        // From the first class on, each replaces the words that are in it or a later one.
        let members = [all, first, second, third];
        let mut folded = zero;
        for ((place, mask), members) in at[..N].iter_mut().zip(masks).zip(members) {
            let next = differences[4 * *place..].first_chunk::<32>().expect("padding");
            let order = cast(EXPAND32[usize::from(mask)]);
            let next = _mm256_permutevar8x32_epi32(cast(*next), order);
            folded = _mm256_blendv_epi8(folded, next, members);
            *place += mask.count_ones() as usize;
        }
        let odd = _mm256_sub_epi32(zero, _mm256_and_si256(folded, one));
        let difference = _mm256_xor_si256(_mm256_srli_epi32::<1>(folded), odd);
        let base = _mm256_and_si256(base, _mm256_or_si256(first, keep));
        *out = cast(rise32(_mm256_add_epi32(rise32(base), difference)));
        done += 32;
    }
    *places = at;
    done
}

#[target_feature(enable = "avx2")]
fn rise32(words: __m256i) -> __m256i {
    _mm256_xor_si256(words, _mm256_srli_epi32::<1>(_mm256_srai_epi32::<31>(words)))
}
