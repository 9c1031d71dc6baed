//! The SHA extensions of x86-64, on N messages in turn: a step takes four cycles, but the next one
//! of another message need not wait for it.

use core::arch::x86_64::*;

use pulp::cast;

use super::{BLOCK_LEN, K, State};

/// Returns whether this machine has the instructions of [`compress`].
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// Absorbs equally many blocks of each message.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn compress<const N: usize>(states: &mut [State; N], blocks: [&[[u8; BLOCK_LEN]]; N]) {
    let mut abef = [_mm_setzero_si128(); N];
    let mut cdgh = abef;
    for (s, state) in states.iter().enumerate() {
        (abef[s], cdgh[s]) = load(state);
    }
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let constants: [__m128i; 16] = cast(K);

    for i in 0..blocks[0].len() {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut words = [[_mm_setzero_si128(); 4]; N];
        for (words, blocks) in words.iter_mut().zip(blocks) {
            *words = cast(blocks[i]);
            for word in words {
                *word = _mm_shuffle_epi8(*word, swap);
            }
        }
        // Written out, since each step is a little different from the one before.
        macro_rules! steps {
            ($($step:literal)*) => {$(
                for s in 0..N {
                    let w = &mut words[s];
                    let (now, next, last) = ($step % 4, ($step + 1) % 4, ($step + 3) % 4);
                    let sum = _mm_add_epi32(w[now], constants[$step]);
                    cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], sum);
                    if 3 <= $step && $step <= 14 {
                        let shifted = _mm_alignr_epi8::<4>(w[now], w[last]);
                        w[next] = _mm_sha256msg2_epu32(_mm_add_epi32(w[next], shifted), w[now]);
                    }
                    let sum = _mm_shuffle_epi32::<0b00_00_11_10>(sum);
                    abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], sum);
                    if 1 <= $step && $step <= 12 {
                        w[last] = _mm_sha256msg1_epu32(w[last], w[now]);
                    }
                }
            )*};
        }
        steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for s in 0..N {
            abef[s] = _mm_add_epi32(abef[s], abef_before[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], cdgh_before[s]);
        }
    }

    for (s, state) in states.iter_mut().enumerate() {
        *state = store(abef[s], cdgh[s]);
    }
}

/// Loads a state as the instructions want it: A, B, E and F in one register, C, D, G and H in
/// another, A at the top.
#[inline]
#[target_feature(enable = "sse4.1,ssse3")]
pub(super) fn load(state: &State) -> (__m128i, __m128i) {
    let [abcd, efgh]: [__m128i; 2] = cast(*state);
    let badc = _mm_shuffle_epi32::<0b10_11_00_01>(abcd);
    let hgfe = _mm_shuffle_epi32::<0b00_01_10_11>(efgh);
    (_mm_alignr_epi8::<8>(badc, hgfe), _mm_blend_epi16::<0b1111_0000>(hgfe, badc))
}

/// Undoes [`load`].
#[inline]
#[target_feature(enable = "sse4.1,ssse3")]
pub(super) fn store(abef: __m128i, cdgh: __m128i) -> State {
    let feba = _mm_shuffle_epi32::<0b00_01_10_11>(abef);
    let dchg = _mm_shuffle_epi32::<0b10_11_00_01>(cdgh);
    cast([_mm_blend_epi16::<0b1111_0000>(feba, dchg), _mm_alignr_epi8::<8>(dchg, feba)])
}
