//! Four messages: their schedules in AVX-512, a pair of words of all four in a register, their
//! rounds in the SHA extensions. Rounds of one block and the schedule of the next one take turns,
//! so that neither waits for the other.
//!
//! For processors that mix 32-byte registers with the SHA extensions at no cost: AMD's.

use core::arch::asm;
use core::arch::x86_64::*;
use std::sync::LazyLock;

use pulp::cast;

use super::{BLOCK_LEN, K, State};

/// Messages at a time.
const STREAMS: usize = 4;

/// The words of two rounds: two of each message, with their constants added.
type Pair = [i64; STREAMS];

/// The pairs of a block.
type Schedule = [Pair; 32];

/// The words of a block that are needed for the next ones: pair i mod 8.
type Window = [__m256i; 8];

/// Returns whether this machine has the SHA extensions, and mixes them with 32-byte registers at no
/// cost. Intel's take hundreds of cycles to go from one to the other, and back.
pub(super) fn is_fast() -> bool {
    static AMD: LazyLock<bool> = LazyLock::new(|| {
        let vendor = __cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        name.as_flattened() == b"AuthenticAMD"
    });
    super::sha_ni::is_available() && *AMD
}

/// Absorbs equally many blocks of each message.
///
/// With all of the registers of a step pinned, compilers keep the order that the source has.
#[target_feature(enable = "sha,sse4.1,ssse3,avx2,avx512f,avx512vl,avx512vbmi2")]
pub(super) fn compress(states: &mut [State; STREAMS], blocks: [&[[u8; BLOCK_LEN]]; STREAMS]) {
    let count = blocks[0].len();
    if count == 0 {
        return;
    }
    let mut abef = [_mm_setzero_si128(); STREAMS];
    let mut cdgh = abef;
    for (s, state) in states.iter().enumerate() {
        (abef[s], cdgh[s]) = super::sha_ni::load(state);
    }
    // A pair that its rounds have taken makes room for the same pair of the next block.
    let mut schedule: Schedule = [[0; STREAMS]; 32];
    let at = |i: usize| blocks.map(|blocks: &[[u8; BLOCK_LEN]]| &blocks[i]);
    macro_rules! each_pair {
        ($body:ident) => {
            $body!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            $body!(16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        };
    }

    let mut window: Window = [_mm256_setzero_si256(); 8];
    let first = at(0);
    macro_rules! prepare {
        ($($pair:literal)*) => {$( schedule_pair::<$pair>(&mut window, first, &mut schedule); )*};
    }
    each_pair!(prepare);

    for i in 0..count {
        let (abef_before, cdgh_before) = (abef, cdgh);
        // The last block has none after it: its own schedule is made again, for nothing.
        let following = at((i + 1).min(count - 1));
        macro_rules! both {
            ($($pair:literal)*) => {$(
                for s in 0..STREAMS {
                    let words = _mm_cvtsi64_si128(schedule[$pair][s]);
                    if $pair % 2 == 0 {
                        cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], words);
                    } else {
                        abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], words);
                    }
                }
                schedule_pair::<$pair>(&mut window, following, &mut schedule);
                pin(&mut abef, &mut cdgh, &mut window[$pair % 8]);
            )*};
        }
        each_pair!(both);
        for s in 0..STREAMS {
            abef[s] = _mm_add_epi32(abef[s], abef_before[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], cdgh_before[s]);
        }
    }
    for (s, state) in states.iter_mut().enumerate() {
        *state = super::sha_ni::store(abef[s], cdgh[s]);
    }
}

/// Keeps the order of the instructions before and after it. It does nothing, but compilers think
/// that it might do anything to these registers; left alone, they sort all instructions of one kind
/// before all of the other.
#[inline]
#[target_feature(enable = "sse2,avx2")]
fn pin(abef: &mut [__m128i; STREAMS], cdgh: &mut [__m128i; STREAMS], pair: &mut __m256i) {
    let ([a0, a1, a2, a3], [c0, c1, c2, c3]) = (abef, cdgh);
    // SAFETY: there is no instruction.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} {} */",
            inout(xmm_reg) * a0,
            inout(xmm_reg) * a1,
            inout(xmm_reg) * a2,
            inout(xmm_reg) * a3,
            inout(xmm_reg) * c0,
            inout(xmm_reg) * c1,
            inout(xmm_reg) * c2,
            inout(xmm_reg) * c3,
            inout(ymm_reg) * pair,
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// Makes pair PAIR of the schedule; pairs come in their order.
#[inline]
#[target_feature(enable = "sse4.1,ssse3,avx2,avx512f,avx512vl,avx512vbmi2")]
fn schedule_pair<const PAIR: usize>(
    window: &mut Window,
    blocks: [&[u8; BLOCK_LEN]; STREAMS],
    schedule: &mut Schedule,
) {
    if PAIR < 8 {
        // Two pairs of each message, from which two registers are made.
        if PAIR.is_multiple_of(2) {
            let quad = |s: usize| -> __m128i {
                let bytes: [u8; 16] = *blocks[s][8 * PAIR..].first_chunk().expect("of 64 bytes");
                cast(bytes)
            };
            let swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(
                0x0c0d_0e0f_0809_0a0b,
                0x0405_0607_0001_0203,
            ));
            let even = _mm256_shuffle_epi8(_mm256_set_m128i(quad(2), quad(0)), swap);
            let odd = _mm256_shuffle_epi8(_mm256_set_m128i(quad(3), quad(1)), swap);
            window[PAIR] = _mm256_unpacklo_epi64(even, odd);
            window[PAIR + 1] = _mm256_unpackhi_epi64(even, odd);
        }
    } else {
        // w[t] = w[t - 16] + s0(w[t - 15]) + w[t - 7] + s1(w[t - 2])
        let ago = |pairs: usize| window[(PAIR - pairs) % 8];
        let fifteen = _mm256_shrdi_epi64::<32>(ago(8), ago(7));
        let seven = _mm256_shrdi_epi64::<32>(ago(4), ago(3));
        let two = ago(1);
        const XOR: i32 = 0b1001_0110;
        let s0 = _mm256_ternarylogic_epi32::<XOR>(
            _mm256_ror_epi32::<7>(fifteen),
            _mm256_ror_epi32::<18>(fifteen),
            _mm256_srli_epi32::<3>(fifteen),
        );
        let s1 = _mm256_ternarylogic_epi32::<XOR>(
            _mm256_ror_epi32::<17>(two),
            _mm256_ror_epi32::<19>(two),
            _mm256_srli_epi32::<10>(two),
        );
        let sum = _mm256_add_epi32(_mm256_add_epi32(ago(8), seven), s0);
        window[PAIR % 8] = _mm256_add_epi32(sum, s1);
    }
    let constants =
        _mm256_set1_epi64x((u64::from(K[2 * PAIR]) | u64::from(K[2 * PAIR + 1]) << 32) as i64);
    schedule[PAIR] = cast(_mm256_add_epi32(window[PAIR % 8], constants));
}
