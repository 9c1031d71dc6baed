//! 64 lanes a group: the low bytes of their states in one register, the high bytes in another.
//!
//! A step takes all groups at once, so that the latency of one hides behind the others.

use core::arch::x86_64::*;

use pulp::cast;

use super::{CodingTable, Escapes, MAX_SYMBOLS};
use crate::prefetch;

/// Lanes of a group.
const WIDTH: usize = 64;

/// How far ahead, in symbols, memory is fetched.
const AHEAD: usize = 2048;

/// The lanes at even bytes, where two lanes share a 16-bit number.
const EVEN: __mmask64 = 0x5555_5555_5555_5555;

/// Decodes whole rounds, as `decode_rounds` of the module above.
///
/// There are 64, 128 or 256 states, and every frequency is less than 256.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
pub(super) fn decode<const W: usize>(
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    match states.len() {
        64 => decode_groups::<W, 1>(table, states, stream, escapes, low, out),
        128 => decode_groups::<W, 2>(table, states, stream, escapes, low, out),
        256 => decode_groups::<W, 4>(table, states, stream, escapes, low, out),
        lanes => unreachable!("{lanes} lanes"),
    }
}

/// Encodes whole rounds into the end of the stream, from the states as they are; returns how many
/// bytes that took.
///
/// There are 64, 128 or 256 states, symbols for each of them equally often, at least as many bytes
/// as symbols, and every frequency is less than 256.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
pub(super) fn encode(
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    match states.len() {
        64 => encode_groups::<1>(table, symbols, states, stream),
        128 => encode_groups::<2>(table, symbols, states, stream),
        256 => encode_groups::<4>(table, symbols, states, stream),
        lanes => unreachable!("{lanes} lanes"),
    }
}

/// Decodes G groups of lanes. One long function, so that the table and the states of all groups
/// stay in registers from round to round.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
fn decode_groups<const W: usize, const G: usize>(
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low_plane: &[u8],
    out: &mut [u8],
) -> (usize, usize) {
    let ranks = Bytes::new(&table.rank_of_slot);
    let symbols = by_rank(table.symbols);
    let (freqs, starts) = (by_rank(table.byte_freqs()), by_rank(table.starts));
    let escape = _mm512_set1_epi8(table.escape_rank() as i8);
    let low_byte = _mm512_set1_epi16(0xff);

    let (mut low, mut high) = load::<G>(states);
    let mut rest = stream;
    let mut rounds = 0;
    for round in out.chunks_exact_mut(W * G * WIDTH) {
        // Every group takes at most its width.
        let Some((bytes, _)) = rest.split_at_checked(G * WIDTH) else { break };
        prefetch::read_ahead(bytes, AHEAD);
        let mut taken = 0;
        for (g, out) in round.chunks_exact_mut(W * WIDTH).enumerate() {
            let rank = ranks.look_up(low[g]);
            let mut symbol = _mm512_permutexvar_epi8(rank, symbols);
            let escaped = _mm512_cmpeq_epi8_mask(rank, escape);
            if escaped != 0 {
                symbol = escape_into(symbol, escaped, escapes);
            }
            prefetch::write_ahead(out, W * AHEAD);
            match W {
                1 => out.copy_from_slice(&cast::<_, [u8; WIDTH]>(symbol)),
                _ => {
                    let from = (rounds * G + g) * WIDTH;
                    let low: &[u8; WIDTH] =
                        low_plane[from..].first_chunk().expect("W bytes a word");
                    prefetch::read_ahead(low, AHEAD);
                    prefetch::write_ahead(out, W * AHEAD + WIDTH);
                    out.copy_from_slice(
                        cast::<_, [[u8; WIDTH]; 2]>(float16(symbol, cast(*low))).as_flattened(),
                    );
                }
            }

            let freq = _mm512_permutexvar_epi8(rank, freqs);
            let bias = _mm512_sub_epi8(low[g], _mm512_permutexvar_epi8(rank, starts));
            let even = _mm512_add_epi16(
                _mm512_mullo_epi16(
                    _mm512_and_si512(freq, low_byte),
                    _mm512_and_si512(high[g], low_byte),
                ),
                _mm512_and_si512(bias, low_byte),
            );
            let odd = _mm512_add_epi16(
                _mm512_mullo_epi16(_mm512_srli_epi16::<8>(freq), _mm512_srli_epi16::<8>(high[g])),
                _mm512_srli_epi16::<8>(bias),
            );
            let (x_low, x_high) = unzip(even, odd);

            let refill = _mm512_testn_epi8_mask(x_high, x_high);
            let window = bytes[taken..].first_chunk().expect("a group takes at most its width");
            high[g] = _mm512_mask_mov_epi8(x_high, refill, x_low);
            low[g] = _mm512_mask_expand_epi8(x_low, refill, cast::<[u8; WIDTH], _>(*window));
            taken += refill.count_ones() as usize;
        }
        rest = &rest[taken..];
        rounds += 1;
    }
    store::<G>(low, high, states);
    (rounds * G * WIDTH, stream.len() - rest.len())
}

/// Encodes G groups of lanes; as long as [`decode_groups`] for the same reason.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
fn encode_groups<const G: usize>(
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    let ranks = Bytes::new(&table.rank_of_symbol);
    let (freqs, starts) = (by_rank(table.byte_freqs()), by_rank(table.starts));
    let mut reciprocals = [0; MAX_SYMBOLS];
    for (reciprocal, freq) in reciprocals.iter_mut().zip(table.freqs) {
        *reciprocal = super::reciprocal(freq);
    }
    let reciprocals = cast(reciprocals);
    let low_byte = _mm512_set1_epi16(0xff);
    let places: __m512i = cast(const { bytes_from(0, 1) });

    let (mut low, mut high) = load::<G>(states);
    let mut free = stream.len();
    for round in symbols.rchunks_exact(G * WIDTH) {
        for (g, group) in round.as_chunks::<WIDTH>().0.iter().enumerate().rev() {
            let rank = ranks.look_up(cast(*group));
            let freq = _mm512_permutexvar_epi8(rank, freqs);

            // x >= 256 * freq: put a byte, x /= 256.
            let emit = _mm512_cmpge_epu8_mask(high[g], freq);
            let count = emit.count_ones() as usize;
            // Whole stores that end at the last free byte: the next ones overwrite the bytes that
            // do not count. There is a byte left for each symbol to come.
            let bytes = _mm512_maskz_compress_epi8(emit, low[g]);
            let order = _mm512_add_epi8(places, _mm512_set1_epi8(count as i8));
            let end = stream[..free].last_chunk_mut().expect("a byte for each symbol");
            *end = cast::<_, [u8; WIDTH]>(_mm512_permutexvar_epi8(order, bytes));
            free -= count;
            let x_low = _mm512_mask_mov_epi8(low[g], emit, high[g]);
            let x_high = _mm512_maskz_mov_epi8(!emit, high[g]);

            // The quotient fits a byte, and comes out right or one too small.
            let (x_even, x_odd) = zip(x_low, x_high);
            let (freq_even, freq_odd) =
                (_mm512_and_si512(freq, low_byte), _mm512_srli_epi16::<8>(freq));
            let quotient_even =
                _mm512_mulhi_epu16(x_even, _mm512_permutexvar_epi16(rank, reciprocals));
            let quotient_odd = _mm512_mulhi_epu16(
                x_odd,
                _mm512_permutexvar_epi16(_mm512_srli_epi16::<8>(rank), reciprocals),
            );
            let rest_even = _mm512_sub_epi16(x_even, _mm512_mullo_epi16(quotient_even, freq_even));
            let rest_odd = _mm512_sub_epi16(x_odd, _mm512_mullo_epi16(quotient_odd, freq_odd));
            let quotient = pack(quotient_even, quotient_odd);
            let rest = pack(rest_even, rest_odd);
            // Negative, so not zero above the low byte, where the quotient was right.
            let right = high_bytes(
                _mm512_sub_epi16(rest_even, freq_even),
                _mm512_sub_epi16(rest_odd, freq_odd),
            );
            let wrong = _mm512_testn_epi8_mask(right, right);

            // The remainder and the start make less than 256.
            let place = _mm512_add_epi8(rest, _mm512_permutexvar_epi8(rank, starts));
            low[g] = _mm512_mask_sub_epi8(place, wrong, place, freq);
            high[g] = _mm512_mask_add_epi8(quotient, wrong, quotient, _mm512_set1_epi8(1));
        }
    }
    store::<G>(low, high, states);
    stream.len() - free
}

/// As `escaped` of the module above. The output has a byte for each symbol, and 64 more.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt")]
pub(super) fn escaped(table: &CodingTable, symbols: &[u8], out: &mut [u8]) -> usize {
    let ranks = Bytes::new(&table.rank_of_symbol);
    let last = _mm512_set1_epi8(table.len as i8 - 1);
    let mut found = 0;
    let (vectors, tail) = symbols.as_chunks::<WIDTH>();
    for vector in vectors {
        let vector = cast(*vector);
        let escaped = _mm512_cmpeq_epi8_mask(ranks.look_up(vector), last);
        // Escapes are rare: a table that has many of them would not pay.
        if escaped != 0 {
            let symbols = _mm512_maskz_compress_epi8(escaped, vector);
            out[found..][..WIDTH].copy_from_slice(&cast::<_, [u8; WIDTH]>(symbols));
            found += escaped.count_ones() as usize;
        }
    }
    found + super::scalar::escaped(table, tail, &mut out[found..])
}

/// A table of 256 bytes, in four registers.
struct Bytes([__m512i; 4]);

impl Bytes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(table: &[u8; 256]) -> Self {
        let quarters: &[[u8; WIDTH]] = table.as_chunks().0;
        Self([cast(quarters[0]), cast(quarters[1]), cast(quarters[2]), cast(quarters[3])])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn look_up(&self, index: __m512i) -> __m512i {
        let Self([a, b, c, d]) = *self;
        // A permute of two registers takes the low seven bits of an index.
        _mm512_mask_blend_epi8(
            _mm512_movepi8_mask(index),
            _mm512_permutex2var_epi8(a, index, b),
            _mm512_permutex2var_epi8(c, index, d),
        )
    }
}

/// Loads a table twice: byte permutes pick from 64 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
fn by_rank(table: [u8; MAX_SYMBOLS]) -> __m512i {
    cast([table; 2])
}

/// Interleaves the low bytes of two vectors of 16-bit numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack(even: __m512i, odd: __m512i) -> __m512i {
    _mm512_mask_blend_epi8(EVEN, _mm512_slli_epi16::<8>(odd), even)
}

/// Interleaves the high bytes of two vectors of 16-bit numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn high_bytes(even: __m512i, odd: __m512i) -> __m512i {
    _mm512_mask_blend_epi8(EVEN, odd, _mm512_srli_epi16::<8>(even))
}

/// Puts the next escaped symbols where the mask has a bit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
pub(crate) fn escape_into(symbols: __m512i, mask: __mmask64, escapes: &mut Escapes<'_>) -> __m512i {
    let Some(window) = escapes.rest.first_chunk::<WIDTH>() else {
        let mut bytes: [u8; WIDTH] = cast(symbols);
        escapes.put(mask, &mut bytes);
        return cast(bytes);
    };
    escapes.rest = &escapes.rest[mask.count_ones() as usize..];
    _mm512_mask_expand_epi8(symbols, mask, cast(*window))
}

/// Merges high and low bytes to words, and rotates each word right by one bit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
pub(crate) fn float16(high: __m512i, low: __m512i) -> [__m512i; 2] {
    // Bytes are zipped within rows of 16: the first halves of all rows make the first vector.
    let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    let high = _mm512_permutexvar_epi64(order, high);
    let low = _mm512_permutexvar_epi64(order, low);
    let (first, second) = (_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high));
    [_mm512_shrdi_epi16::<1>(first, first), _mm512_shrdi_epi16::<1>(second, second)]
}

/// Turns the states of even and of odd lanes into the low and the high bytes of all.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unzip(even: __m512i, odd: __m512i) -> (__m512i, __m512i) {
    (pack(even, odd), high_bytes(even, odd))
}

/// Undoes [`unzip`]; and unzips as well, since it is its own inverse.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn zip(low: __m512i, high: __m512i) -> (__m512i, __m512i) {
    unzip(low, high)
}

/// Loads the low and the high bytes of the states, group by group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn load<const G: usize>(states: &[u16]) -> ([__m512i; G], [__m512i; G]) {
    let lows = cast(const { bytes_from(0, 2) });
    let highs = cast(const { bytes_from(1, 2) });
    let mut low = [_mm512_setzero_si512(); G];
    let mut high = low;
    for (g, group) in states.as_chunks::<WIDTH>().0.iter().enumerate() {
        let [a, b]: [__m512i; 2] = cast(*group);
        low[g] = _mm512_permutex2var_epi8(a, lows, b);
        high[g] = _mm512_permutex2var_epi8(a, highs, b);
    }
    (low, high)
}

/// Undoes [`load`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn store<const G: usize>(low: [__m512i; G], high: [__m512i; G], states: &mut [u16]) {
    let first = cast(const { pairs_from(0) });
    let second = cast(const { pairs_from(WIDTH as u8 / 2) });
    for (g, group) in states.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        *group = cast([
            _mm512_permutex2var_epi8(low[g], first, high[g]),
            _mm512_permutex2var_epi8(low[g], second, high[g]),
        ]);
    }
}

/// Returns the indices `start`, `start + step` and so on.
pub(crate) const fn bytes_from(start: u8, step: u8) -> [u8; WIDTH] {
    let mut indices = [start; WIDTH];
    let mut i = 1;
    while i < WIDTH {
        indices[i] = indices[i - 1] + step;
        i += 1;
    }
    indices
}

/// Returns the indices from `start` on in two vectors, in turn from the one and the other.
pub(crate) const fn pairs_from(start: u8) -> [u8; WIDTH] {
    let mut indices = [start; WIDTH];
    let mut i = 0;
    while i < WIDTH {
        indices[i] += (i / 2 + i % 2 * WIDTH) as u8;
        i += 1;
    }
    indices
}
