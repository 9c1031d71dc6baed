//! A vector of words at a time: the next differences of each class go to the places of the class.

use core::arch::x86_64::*;

use pulp::cast;

use super::{Classes, MAX_CLASSES};

/// Adds differences to words of 16 bits; returns the number of bytes that are done. `places` move
/// past the differences that were taken.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
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

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
fn add16_of<const N: usize>(
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    // Every exponent reaches the first class, and none a class that is not there.
    let mut firsts = [_mm512_set1_epi16(256); N];
    firsts[0] = _mm512_setzero_si512();
    for (first, &exponent) in firsts[1..].iter_mut().zip(classes.firsts()) {
        *first = _mm512_set1_epi16(exponent.into());
    }
    let (zero, one) = (_mm512_setzero_si512(), _mm512_set1_epi16(1));
    let keep = if classes.is_alone(0) { 0 } else { __mmask32::MAX };
    let rounds = base.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<64>().0);
    let mut done = 0;
    for (base, out) in rounds {
        let base: __m512i = cast(*base);
        let exponents = _mm512_srli_epi16::<8>(_mm512_slli_epi16::<1>(base));
        let reached = firsts.map(|first| _mm512_cmpge_epu16_mask(exponents, first));
        let mut folded = zero;
        for (class, place) in places[..N].iter_mut().enumerate() {
            let members = reached[class] & !reached.get(class + 1).unwrap_or(&0);
            let next: __m512i =
                cast(*differences[2 * *place..].first_chunk::<64>().expect("padding"));
            folded = _mm512_mask_expand_epi16(folded, members, next);
            *place += members.count_ones() as usize;
        }
        let odd = _mm512_sub_epi16(zero, _mm512_and_si512(folded, one));
        let difference = _mm512_xor_si512(_mm512_srli_epi16::<1>(folded), odd);
        let base = _mm512_maskz_mov_epi16(reached.get(1).unwrap_or(&0) | keep, base);
        *out = cast(rise16(_mm512_add_epi16(rise16(base), difference)));
        done += 64;
    }
    done
}

#[target_feature(enable = "avx512f,avx512bw")]
fn rise16(words: __m512i) -> __m512i {
    _mm512_xor_si512(words, _mm512_srli_epi16::<1>(_mm512_srai_epi16::<15>(words)))
}

/// As [`add16`], for words of 32 bits.
#[target_feature(enable = "avx512f,popcnt")]
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

#[target_feature(enable = "avx512f,popcnt")]
fn add32_of<const N: usize>(
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    let mut firsts = [_mm512_set1_epi32(256); N];
    firsts[0] = _mm512_setzero_si512();
    for (first, &exponent) in firsts[1..].iter_mut().zip(classes.firsts()) {
        *first = _mm512_set1_epi32(exponent.into());
    }
    let (zero, one) = (_mm512_setzero_si512(), _mm512_set1_epi32(1));
    let keep = if classes.is_alone(0) { 0 } else { __mmask16::MAX };
    let rounds = base.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<64>().0);
    let mut done = 0;
    for (base, out) in rounds {
        let base: __m512i = cast(*base);
        let exponents = _mm512_srli_epi32::<24>(_mm512_slli_epi32::<1>(base));
        let reached = firsts.map(|first| _mm512_cmpge_epu32_mask(exponents, first));
        let mut folded = zero;
        for (class, place) in places[..N].iter_mut().enumerate() {
            let members = reached[class] & !reached.get(class + 1).unwrap_or(&0);
            let next: __m512i =
                cast(*differences[4 * *place..].first_chunk::<64>().expect("padding"));
            folded = _mm512_mask_expand_epi32(folded, members, next);
            *place += members.count_ones() as usize;
        }
        let odd = _mm512_sub_epi32(zero, _mm512_and_si512(folded, one));
        let difference = _mm512_xor_si512(_mm512_srli_epi32::<1>(folded), odd);
        let base = _mm512_maskz_mov_epi32(reached.get(1).unwrap_or(&0) | keep, base);
        *out = cast(rise32(_mm512_add_epi32(rise32(base), difference)));
        done += 64;
    }
    done
}

#[target_feature(enable = "avx512f")]
fn rise32(words: __m512i) -> __m512i {
    _mm512_xor_si512(words, _mm512_srli_epi32::<1>(_mm512_srai_epi32::<31>(words)))
}
