//! Two rows of 16 bytes.

use core::arch::x86_64::*;

use pulp::cast;
use pulp::x86::V3;

use super::search::{self, COMPRESS, EXPAND, SearchUnit};
use super::{CodingTable, Escapes};

/// As [`search::decode`].
pub(super) fn decode<const W: usize>(
    token: V3,
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    token.vectorize(
        #[inline(always)]
        || search::decode::<_, W, 32>(token, table, states, stream, escapes, low, out),
    )
}

/// As [`search::encode`].
pub(super) fn encode(
    token: V3,
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

/// As `escaped` of the module above.
#[target_feature(enable = "avx2,bmi1")]
pub(super) fn escaped(table: &CodingTable, symbols: &[u8], out: &mut [u8]) -> usize {
    const WIDTH: usize = 32;
    // For each low half of a byte, bits for the high halves below and from 8 on with which it is a
    // symbol of the last entry.
    let mut rows = [[0u8; 16]; 2];
    for (symbol, &rank) in (0..=u8::MAX).zip(&table.rank_of_symbol) {
        if rank == table.len - 1 {
            rows[usize::from(symbol >> 7)][usize::from(symbol & 15)] |= 1 << (symbol >> 4 & 7);
        }
    }
    let [below, above] = rows.map(|row| _mm256_broadcastsi128_si256(cast(row)));
    let bits: [u8; 16] = std::array::from_fn(|high| 1 << (high & 7));
    let bits = _mm256_broadcastsi128_si256(cast(bits));
    let mut found = 0;
    let (vectors, tail) = symbols.as_chunks::<WIDTH>();
    for symbols in vectors {
        let vector: __m256i = cast(*symbols);
        // A shuffle gives 0 where the top bit is set.
        let turned = _mm256_xor_si256(vector, _mm256_set1_epi8(i8::MIN));
        let listed =
            _mm256_or_si256(_mm256_shuffle_epi8(below, vector), _mm256_shuffle_epi8(above, turned));
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(vector), _mm256_set1_epi8(15));
        let bit = _mm256_shuffle_epi8(bits, high);
        let escaped = _mm256_cmpeq_epi8(_mm256_and_si256(listed, bit), bit);
        // Escapes are rare: a table that has many of them would not pay.
        let mut escaped = _mm256_movemask_epi8(escaped) as u32;
        while escaped != 0 {
            out[found] = symbols[escaped.trailing_zeros() as usize];
            found += 1;
            escaped &= escaped - 1;
        }
    }
    found + super::scalar::escaped(table, tail, &mut out[found..])
}

impl SearchUnit<32> for V3 {
    type Vector = __m256i;

    /// Comparisons are signed.
    const FLIP: u8 = 0x80;

    #[inline(always)]
    fn load(self, bytes: &[u8; 32]) -> __m256i {
        cast(*bytes)
    }

    #[inline(always)]
    fn store(self, vector: __m256i, bytes: &mut [u8; 32]) {
        *bytes = cast(vector);
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> __m256i {
        self.avx._mm256_set1_epi8(byte as i8)
    }

    #[inline(always)]
    fn row(self, row: [u8; 16]) -> __m256i {
        cast([row; 2])
    }

    #[inline(always)]
    fn look_up(self, row: __m256i, indices: __m256i) -> __m256i {
        self.avx2._mm256_shuffle_epi8(row, indices)
    }

    #[inline(always)]
    fn look_up_or_zero(self, row: __m256i, indices: __m256i) -> __m256i {
        // From 16 on the sum has the top bit set, for which a shuffle gives 0.
        let indices = self.avx2._mm256_adds_epu8(indices, self.avx._mm256_set1_epi8(0x70));
        self.avx2._mm256_shuffle_epi8(row, indices)
    }

    #[inline(always)]
    fn look_up_pair(self, rows: [__m256i; 2], indices: __m256i) -> __m256i {
        let [low, high] = rows;
        // Bit 4 of an index, at the top of its byte, chooses the row.
        self.avx2._mm256_blendv_epi8(
            self.avx2._mm256_shuffle_epi8(low, indices),
            self.avx2._mm256_shuffle_epi8(high, indices),
            self.avx2._mm256_slli_epi16::<3>(indices),
        )
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        self.avx2._mm256_xor_si256(a, b)
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        self.avx2._mm256_add_epi8(a, b)
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        self.avx2._mm256_sub_epi8(a, b)
    }

    #[inline(always)]
    fn above(self, a: __m256i, b: __m256i) -> __m256i {
        self.avx2._mm256_cmpgt_epi8(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: __m256i, b: __m256i, c: __m256i) -> (__m256i, __m256i) {
        let V3 { avx, avx2, .. } = self;
        let low = avx._mm256_set1_epi16(0xff);
        let even = avx2._mm256_add_epi16(
            avx2._mm256_mullo_epi16(avx2._mm256_and_si256(a, low), avx2._mm256_and_si256(b, low)),
            avx2._mm256_and_si256(c, low),
        );
        let odd = avx2._mm256_add_epi16(
            avx2._mm256_mullo_epi16(avx2._mm256_srli_epi16::<8>(a), avx2._mm256_srli_epi16::<8>(b)),
            avx2._mm256_srli_epi16::<8>(c),
        );
        unzip(self, even, odd)
    }

    #[inline(always)]
    fn float16(self, high: __m256i, low: __m256i) -> [[u8; 32]; 2] {
        let V3 { avx2, .. } = self;
        // Bytes are zipped within rows of 16: the first halves of both rows make the first vector.
        let high = avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(high);
        let low = avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(low);
        [
            rotate_right(self, avx2._mm256_unpacklo_epi8(low, high)),
            rotate_right(self, avx2._mm256_unpackhi_epi8(low, high)),
        ]
    }

    #[inline(always)]
    fn bits(self, mask: __m256i) -> u64 {
        (self.avx2._mm256_movemask_epi8(mask) as u32).into()
    }

    #[inline(always)]
    fn is_zero(self, vector: __m256i) -> __m256i {
        self.avx2._mm256_cmpeq_epi8(vector, self.avx._mm256_setzero_si256())
    }

    #[inline(always)]
    fn select(self, mask: __m256i, a: __m256i, b: __m256i) -> __m256i {
        self.avx2._mm256_blendv_epi8(b, a, mask)
    }

    #[inline(always)]
    fn expand(self, mask: __m256i, bytes: &[u8; 32]) -> (__m256i, usize) {
        let mask = self.avx2._mm256_movemask_epi8(mask) as u32;
        let mut eights = [0_u64; 4];
        for (i, eight) in eights.iter_mut().enumerate() {
            let before = (mask & !(u32::MAX << (8 * i))).count_ones() as usize;
            let window: &[u8; 8] = bytes[before..].first_chunk().expect("at most 24 bytes before");
            let order = EXPAND[usize::from((mask >> (8 * i)) as u8)];
            let spread = self.ssse3._mm_shuffle_epi8(eight_bytes(*window), eight_bytes(order));
            *eight = cast::<__m128i, [u64; 2]>(spread)[0];
        }
        (cast(eights), mask.count_ones() as usize)
    }

    #[inline(always)]
    fn compress(self, mask: __m256i, vector: __m256i, free: &mut [u8]) -> usize {
        let mask = self.avx2._mm256_movemask_epi8(mask) as u32;
        let eights: [[u8; 8]; 4] = cast(vector);
        let mut end = free.len();
        for (i, eight) in eights.into_iter().enumerate().rev() {
            let mask = (mask >> (8 * i)) as u8;
            let order = COMPRESS[usize::from(mask)];
            let packed = self.ssse3._mm_shuffle_epi8(eight_bytes(eight), eight_bytes(order));
            let place: &mut [u8; 8] = free[..end].last_chunk_mut().expect("a byte for each lane");
            *place = cast::<__m128i, [[u8; 8]; 2]>(packed)[0];
            end -= mask.count_ones() as usize;
        }
        free.len() - end
    }

    #[inline(always)]
    fn div(
        self,
        number: (__m256i, __m256i),
        divisor: __m256i,
        reciprocal: (__m256i, __m256i),
    ) -> (__m256i, __m256i) {
        let V3 { avx, avx2, .. } = self;
        let (number_even, number_odd) = unzip(self, number.0, number.1);
        let (reciprocal_even, reciprocal_odd) = unzip(self, reciprocal.0, reciprocal.1);
        let (divisor_even, divisor_odd) = (
            avx2._mm256_and_si256(divisor, avx._mm256_set1_epi16(0xff)),
            avx2._mm256_srli_epi16::<8>(divisor),
        );
        let (quotient_even, rest_even) = divide(self, number_even, divisor_even, reciprocal_even);
        let (quotient_odd, rest_odd) = divide(self, number_odd, divisor_odd, reciprocal_odd);
        (
            avx2._mm256_or_si256(quotient_even, avx2._mm256_slli_epi16::<8>(quotient_odd)),
            avx2._mm256_or_si256(rest_even, avx2._mm256_slli_epi16::<8>(rest_odd)),
        )
    }
}

/// Turns the 16-bit numbers of even and of odd lanes into the low and the high bytes of all, and
/// back: this is its own inverse.
#[inline(always)]
fn unzip(token: V3, even: __m256i, odd: __m256i) -> (__m256i, __m256i) {
    let V3 { avx, avx2, .. } = token;
    let low = avx._mm256_set1_epi16(0xff);
    (
        avx2._mm256_or_si256(avx2._mm256_and_si256(even, low), avx2._mm256_slli_epi16::<8>(odd)),
        avx2._mm256_or_si256(avx2._mm256_srli_epi16::<8>(even), avx2._mm256_andnot_si256(low, odd)),
    )
}

/// Rotates words right by one bit.
#[inline(always)]
fn rotate_right(token: V3, words: __m256i) -> [u8; 32] {
    let V3 { avx2, .. } = token;
    cast(
        avx2._mm256_or_si256(
            avx2._mm256_srli_epi16::<1>(words),
            avx2._mm256_slli_epi16::<15>(words),
        ),
    )
}

/// Loads eight bytes, and zeros above them.
#[inline(always)]
fn eight_bytes(bytes: [u8; 8]) -> __m128i {
    cast([u64::from_le_bytes(bytes), 0])
}

/// Returns quotients and remainders, from products that come out right or one too small.
#[inline(always)]
fn divide(token: V3, number: __m256i, divisor: __m256i, reciprocal: __m256i) -> (__m256i, __m256i) {
    let V3 { avx, avx2, .. } = token;
    let quotient = avx2._mm256_mulhi_epu16(number, reciprocal);
    let rest = avx2._mm256_sub_epi16(number, avx2._mm256_mullo_epi16(quotient, divisor));
    let right = avx2._mm256_cmpgt_epi16(divisor, rest);
    let more = avx2._mm256_add_epi16(avx._mm256_set1_epi16(1), right);
    (
        avx2._mm256_add_epi16(quotient, more),
        avx2._mm256_sub_epi16(rest, avx2._mm256_andnot_si256(right, divisor)),
    )
}
