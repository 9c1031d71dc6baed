//! Sixteen messages, one in each 32-bit lane.

use core::arch::x86_64::*;

use pulp::cast;

use super::{BLOCK_LEN, K, State};
use crate::prefetch;

/// How many bytes ahead messages are fetched.
const AHEAD: usize = 512;

/// Messages at a time.
const N: usize = 16;

/// Absorbs equally many blocks of each message.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut [State; N], blocks: [&[[u8; BLOCK_LEN]]; N]) {
    let mut state = [_mm512_setzero_si512(); 8];
    for (word, lane) in state.iter_mut().enumerate() {
        *lane = cast(states.map(|state| state[word]));
    }
    for i in 0..blocks[0].len() {
        let mut words = [_mm512_setzero_si512(); 16];
        for (words, blocks) in words.iter_mut().zip(blocks) {
            prefetch::read_ahead(&blocks[i], AHEAD);
            *words = big_endian(cast(blocks[i]));
        }
        let before = state;
        absorb(&mut state, transposed(words));
        for (lane, before) in state.iter_mut().zip(before) {
            *lane = _mm512_add_epi32(*lane, before);
        }
    }
    for (word, lane) in state.into_iter().enumerate() {
        for (state, value) in states.iter_mut().zip(cast::<_, [u32; N]>(lane)) {
            state[word] = value;
        }
    }
}

/// The 64 rounds, over the words of a block.
#[inline]
#[target_feature(enable = "avx512f")]
fn absorb(state: &mut [__m512i; 8], mut w: [__m512i; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident,
         $k:expr, $t:expr) => {
            let sum = _mm512_add_epi32($h, _mm512_set1_epi32($k[$t] as i32));
            let sum = _mm512_add_epi32(sum, w[$t]);
            let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
            let sum = _mm512_add_epi32(sum, choice);
            let sum = _mm512_add_epi32(sum, big_sigma1($e));
            $d = _mm512_add_epi32($d, sum);
            let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
            $h = _mm512_add_epi32(_mm512_add_epi32(sum, majority), big_sigma0($a));
        };
    }
    // Sixteen rounds, after which each word has its register again.
    macro_rules! rounds {
        ($k:expr, $schedule:expr) => {
            rounds!(@ $k, $schedule, a b c d e f g h, 0 1 2 3 4 5 6 7);
            rounds!(@ $k, $schedule, a b c d e f g h, 8 9 10 11 12 13 14 15);
        };
        (@ $k:expr, $schedule:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident
         $h:ident, $t:literal $($more:literal)*) => {
            $schedule(&mut w, $t);
            round!($a $b $c $d $e $f $g $h, $k, $t);
            rounds!(@ $k, $schedule, $h $a $b $c $d $e $f $g, $($more)*);
        };
        (@ $k:expr, $schedule:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident
         $h:ident,) => {};
    }
    let (first, others) = K.as_chunks::<16>().0.split_first().expect("64 constants");
    rounds!(first, |_: &mut [__m512i; 16], _: usize| ());
    for constants in others {
        rounds!(constants, schedule);
    }
    *state = [a, b, c, d, e, f, g, h];
}

/// Replaces word `t` by the one that is needed 16 rounds later.
#[inline]
#[target_feature(enable = "avx512f")]
fn schedule(w: &mut [__m512i; 16], t: usize) {
    let sum = _mm512_add_epi32(w[t], w[(t + 9) % 16]);
    let sum = _mm512_add_epi32(sum, small_sigma0(w[(t + 1) % 16]));
    w[t] = _mm512_add_epi32(sum, small_sigma1(w[(t + 14) % 16]));
}

/// Returns the exclusive or of three words.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_sigma0(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<2>(x), _mm512_ror_epi32::<13>(x), _mm512_ror_epi32::<22>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_sigma1(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<6>(x), _mm512_ror_epi32::<11>(x), _mm512_ror_epi32::<25>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma0(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma1(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<17>(x), _mm512_ror_epi32::<19>(x), _mm512_srli_epi32::<10>(x))
}

/// Reverses the bytes of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(words: __m512i) -> __m512i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order))
}

/// Turns sixteen rows of sixteen words into sixteen columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut out = rows;
    // Within squares of two by two words, and then of four by four.
    for i in (0..16).step_by(2) {
        out[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        out[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let pairs = out;
    for i in (0..16).step_by(4) {
        out[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        out[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        out[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        out[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // out[4q + r] has words r, 4 + r, 8 + r and 12 + r of rows 4q to 4q + 3: transpose these.
    let fours = out;
    for r in 0..4 {
        let [a, b, c, d] = [fours[r], fours[4 + r], fours[8 + r], fours[12 + r]];
        let (ab_even, ab_odd) =
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) =
            (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        out[r] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        out[4 + r] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        out[8 + r] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        out[12 + r] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    out
}
