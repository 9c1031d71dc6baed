//! Eight messages, one in each 32-bit lane, for machines without the SHA extensions.

use core::arch::x86_64::*;

use pulp::cast;

use super::{BLOCK_LEN, K, State};
use crate::prefetch;

/// How many bytes ahead messages are fetched.
const AHEAD: usize = 512;

/// Messages at a time.
const N: usize = 8;

/// Absorbs equally many blocks of each message.
#[target_feature(enable = "avx2")]
pub(super) fn compress(states: &mut [State; N], blocks: [&[[u8; BLOCK_LEN]]; N]) {
    let mut state = [_mm256_setzero_si256(); 8];
    for (word, lane) in state.iter_mut().enumerate() {
        *lane = cast(states.map(|state| state[word]));
    }
    for i in 0..blocks[0].len() {
        let mut halves = [[_mm256_setzero_si256(); 8]; 2];
        for (message, blocks) in blocks.into_iter().enumerate() {
            prefetch::read_ahead(&blocks[i], AHEAD);
            let [low, high]: [__m256i; 2] = cast(blocks[i]);
            halves[0][message] = big_endian(low);
            halves[1][message] = big_endian(high);
        }
        let before = state;
        absorb(&mut state, cast(halves.map(|rows| transposed(rows))));
        for (lane, before) in state.iter_mut().zip(before) {
            *lane = _mm256_add_epi32(*lane, before);
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
#[target_feature(enable = "avx2")]
fn absorb(state: &mut [__m256i; 8], mut w: [__m256i; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    // The exclusive or of the two words that the majority of the next round has as well.
    let mut bc = _mm256_xor_si256(b, c);
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident,
         $k:expr, $t:expr) => {
            let sum = _mm256_add_epi32(w[$t], _mm256_set1_epi32($k[$t] as i32));
            let sum = _mm256_add_epi32($h, sum);
            let choice = _mm256_and_si256(_mm256_xor_si256($f, $g), $e);
            let sum = _mm256_add_epi32(sum, _mm256_xor_si256(choice, $g));
            let sum = _mm256_add_epi32(sum, rotations::<6, 11, 25>($e));
            $d = _mm256_add_epi32($d, sum);
            let ab = _mm256_xor_si256($a, $b);
            let majority = _mm256_xor_si256(_mm256_and_si256(ab, bc), $b);
            bc = ab;
            let sum = _mm256_add_epi32(sum, majority);
            $h = _mm256_add_epi32(sum, rotations::<2, 13, 22>($a));
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
    rounds!(first, |_: &mut [__m256i; 16], _: usize| ());
    for constants in others {
        rounds!(constants, schedule);
    }
    *state = [a, b, c, d, e, f, g, h];
}

/// Replaces word `t` by the one that is needed 16 rounds later.
#[inline]
#[target_feature(enable = "avx2")]
fn schedule(w: &mut [__m256i; 16], t: usize) {
    let (early, late) = (w[(t + 1) % 16], w[(t + 14) % 16]);
    let sum = _mm256_add_epi32(w[t], w[(t + 9) % 16]);
    let small_sigma0 = xor3(rotated::<7>(early), rotated::<18>(early), shifted::<3>(early));
    let small_sigma1 = xor3(rotated::<17>(late), rotated::<19>(late), shifted::<10>(late));
    w[t] = _mm256_add_epi32(_mm256_add_epi32(sum, small_sigma0), small_sigma1);
}

/// Returns the exclusive or of three words.
#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Returns the exclusive or of three rotations to the right.
#[inline]
#[target_feature(enable = "avx2")]
fn rotations<const A: i32, const B: i32, const C: i32>(x: __m256i) -> __m256i {
    xor3(rotated::<A>(x), rotated::<B>(x), rotated::<C>(x))
}

/// Rotates each word to the right.
#[inline]
#[target_feature(enable = "avx2")]
fn rotated<const BITS: i32>(x: __m256i) -> __m256i {
    let high = _mm256_sll_epi32(x, _mm_cvtsi32_si128(32 - BITS));
    _mm256_xor_si256(shifted::<BITS>(x), high)
}

#[inline]
#[target_feature(enable = "avx2")]
fn shifted<const BITS: i32>(x: __m256i) -> __m256i {
    _mm256_srli_epi32::<BITS>(x)
}

/// Reverses the bytes of each word.
#[inline]
#[target_feature(enable = "avx2")]
fn big_endian(words: __m256i) -> __m256i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(order))
}

/// Turns eight rows of eight words into eight columns.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256i; 8]) -> [__m256i; 8] {
    let mut out = rows;
    // Within squares of two by two words, and then of four by four.
    for i in (0..8).step_by(2) {
        out[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        out[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let pairs = out;
    for i in (0..8).step_by(4) {
        out[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        out[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        out[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        out[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // out[4q + r] has words r and 4 + r of rows 4q to 4q + 3.
    let fours = out;
    for r in 0..4 {
        out[r] = _mm256_permute2x128_si256::<0x20>(fours[r], fours[4 + r]);
        out[4 + r] = _mm256_permute2x128_si256::<0x31>(fours[r], fours[4 + r]);
    }
    out
}
