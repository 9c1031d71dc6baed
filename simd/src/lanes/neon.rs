//! One row of 16 bytes.

use core::arch::aarch64::{uint8x16_t, uint16x8_t};

use pulp::aarch64::Neon;
use pulp::cast;

use super::search::{self, COMPRESS, EXPAND, SearchUnit};
use super::{CodingTable, Escapes};

/// As [`search::decode`].
pub(super) fn decode<const W: usize>(
    token: Neon,
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    token.vectorize(
        #[inline(always)]
        || search::decode::<_, W, 16>(token, table, states, stream, escapes, low, out),
    )
}

/// As [`search::encode`].
pub(super) fn encode(
    token: Neon,
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    token.vectorize(
        #[inline(always)]
        || search::encode(token, table, symbols, states, stream),
    )
}

impl SearchUnit<16> for Neon {
    type Vector = uint8x16_t;

    const FLIP: u8 = 0;

    #[inline(always)]
    fn load(self, bytes: &[u8; 16]) -> uint8x16_t {
        cast(*bytes)
    }

    #[inline(always)]
    fn store(self, vector: uint8x16_t, bytes: &mut [u8; 16]) {
        *bytes = cast(vector);
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> uint8x16_t {
        self.neon.vdupq_n_u8(byte)
    }

    #[inline(always)]
    fn row(self, row: [u8; 16]) -> uint8x16_t {
        cast(row)
    }

    #[inline(always)]
    fn look_up(self, row: uint8x16_t, indices: uint8x16_t) -> uint8x16_t {
        self.neon.vqtbl1q_u8(row, indices)
    }

    #[inline(always)]
    fn look_up_or_zero(self, row: uint8x16_t, indices: uint8x16_t) -> uint8x16_t {
        self.look_up(row, indices)
    }

    #[inline(always)]
    fn look_up_pair(self, rows: [uint8x16_t; 2], indices: uint8x16_t) -> uint8x16_t {
        let [low, high] = rows;
        // Indices beyond a row give 0.
        self.neon.vorrq_u8(
            self.look_up(low, indices),
            self.look_up(high, self.sub(indices, self.splat(16))),
        )
    }

    #[inline(always)]
    fn xor(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        self.neon.veorq_u8(a, b)
    }

    #[inline(always)]
    fn add(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        self.neon.vaddq_u8(a, b)
    }

    #[inline(always)]
    fn sub(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        self.neon.vsubq_u8(a, b)
    }

    #[inline(always)]
    fn above(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        self.neon.vcgtq_u8(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: uint8x16_t, b: uint8x16_t, c: uint8x16_t) -> (uint8x16_t, uint8x16_t) {
        let neon = self.neon;
        let first = neon.vmlal_u8(
            neon.vmovl_u8(neon.vget_low_u8(c)),
            neon.vget_low_u8(a),
            neon.vget_low_u8(b),
        );
        let second = neon.vmlal_high_u8(neon.vmovl_high_u8(c), a, b);
        let (first, second) = (cast(first), cast(second));
        (neon.vuzp1q_u8(first, second), neon.vuzp2q_u8(first, second))
    }

    #[inline(always)]
    fn float16(self, high: uint8x16_t, low: uint8x16_t) -> [[u8; 16]; 2] {
        let words = [self.neon.vzip1q_u8(low, high), self.neon.vzip2q_u8(low, high)];
        [rotate_right(self, words[0]), rotate_right(self, words[1])]
    }

    #[inline(always)]
    fn bits(self, mask: uint8x16_t) -> u64 {
        let halves: [u64; 2] = cast(mask);
        if halves == [0, 0] {
            return 0;
        }
        let bytes: [u8; 16] = cast(mask);
        bytes.iter().rev().fold(0, |bits, byte| bits << 1 | u64::from(byte & 1))
    }

    #[inline(always)]
    fn is_zero(self, vector: uint8x16_t) -> uint8x16_t {
        self.neon.vceqzq_u8(vector)
    }

    #[inline(always)]
    fn select(self, mask: uint8x16_t, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        self.neon.vbslq_u8(mask, a, b)
    }

    #[inline(always)]
    fn expand(self, mask: uint8x16_t, bytes: &[u8; 16]) -> (uint8x16_t, usize) {
        let neon = self.neon;
        let [first, second] = bits(self, mask);
        let before = first.count_ones() as usize;
        let second_bytes: &[u8; 8] = bytes[before..].first_chunk().expect("at most 8 bytes before");
        let [first_bytes, _] = bytes.as_chunks::<8>().0 else { unreachable!("16 bytes") };
        let spread = neon.vcombine_u8(
            neon.vtbl1_u8(cast(*first_bytes), cast(EXPAND[usize::from(first)])),
            neon.vtbl1_u8(cast(*second_bytes), cast(EXPAND[usize::from(second)])),
        );
        (spread, before + second.count_ones() as usize)
    }

    #[inline(always)]
    fn compress(self, mask: uint8x16_t, vector: uint8x16_t, free: &mut [u8]) -> usize {
        let eights: [[u8; 8]; 2] = cast(vector);
        let mut end = free.len();
        for (eight, mask) in eights.into_iter().zip(bits(self, mask)).rev() {
            let order = COMPRESS[usize::from(mask)];
            let place: &mut [u8; 8] = free[..end].last_chunk_mut().expect("a byte for each lane");
            *place = cast(self.neon.vtbl1_u8(cast(eight), cast(order)));
            end -= mask.count_ones() as usize;
        }
        free.len() - end
    }

    #[inline(always)]
    fn div(
        self,
        number: (uint8x16_t, uint8x16_t),
        divisor: uint8x16_t,
        reciprocal: (uint8x16_t, uint8x16_t),
    ) -> (uint8x16_t, uint8x16_t) {
        let neon = self.neon;
        let (quotient_first, rest_first) = divide(
            self,
            cast(neon.vzip1q_u8(number.0, number.1)),
            neon.vmovl_u8(neon.vget_low_u8(divisor)),
            cast(neon.vzip1q_u8(reciprocal.0, reciprocal.1)),
        );
        let (quotient_second, rest_second) = divide(
            self,
            cast(neon.vzip2q_u8(number.0, number.1)),
            neon.vmovl_high_u8(divisor),
            cast(neon.vzip2q_u8(reciprocal.0, reciprocal.1)),
        );
        (
            neon.vuzp1q_u8(cast(quotient_first), cast(quotient_second)),
            neon.vuzp1q_u8(cast(rest_first), cast(rest_second)),
        )
    }
}

/// Returns a bit for each lane of a mask, in bytes of eight.
#[inline(always)]
fn bits(token: Neon, mask: uint8x16_t) -> [u8; 2] {
    let neon = token.neon;
    // A bit of each lane, and three sums of neighbours make a byte of eight.
    let mut sums = neon.vandq_u8(mask, cast([[1_u8, 2, 4, 8, 16, 32, 64, 128]; 2]));
    for _ in 0..3 {
        sums = neon.vpaddq_u8(sums, sums);
    }
    neon.vgetq_lane_u16::<0>(cast(sums)).to_le_bytes()
}

/// Returns quotients and remainders, from products that come out right or one too small.
#[inline(always)]
fn divide(
    token: Neon,
    number: uint16x8_t,
    divisor: uint16x8_t,
    reciprocal: uint16x8_t,
) -> (uint16x8_t, uint16x8_t) {
    let neon = token.neon;
    let first = neon.vmull_u16(neon.vget_low_u16(number), neon.vget_low_u16(reciprocal));
    let second = neon.vmull_high_u16(number, reciprocal);
    let quotient: uint16x8_t = neon.vuzp2q_u16(cast(first), cast(second));
    let rest = neon.vmlsq_u16(number, quotient, divisor);
    let wrong = neon.vcgeq_u16(rest, divisor);
    let rest = neon.vsubq_u16(rest, neon.vandq_u16(wrong, divisor));
    (neon.vsubq_u16(quotient, wrong), rest)
}

/// Rotates words right by one bit.
#[inline(always)]
fn rotate_right(token: Neon, words: uint8x16_t) -> [u8; 16] {
    let words: uint16x8_t = cast(words);
    // Shift right by one bit, then insert the lowest one at the top.
    cast(token.neon.vsliq_n_u16::<15>(token.neon.vshrq_n_u16::<1>(words), words))
}
