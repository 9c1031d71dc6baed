//! SHA-256 of several messages at once, from given chaining states.
//!
//! One message is a chain: each step waits for the one before, and most of the machine idles. Steps
//! of several messages fill it. Callers cut a message into parts whose chaining states are known,
//! and pass as many as [`width`] at a time.
//!
//! Source: FIPS 180-4, section 6.2. The `sha2` crate is the scalar reference, and takes the streams
//! that are left over.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
#[cfg(target_arch = "x86_64")]
mod split;

use crate::Backend;
#[cfg(target_arch = "x86_64")]
use crate::backend::Sha;
use crate::backend::Token;

/// Bytes of a block.
pub const BLOCK_LEN: usize = 64;

/// A chaining state, as words.
pub type State = [u32; 8];

/// The state before the first block: FIPS 180-4, section 5.3.3.
pub const INITIAL: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// With fewer streams than this, the sixteen lanes of AVX-512 are slower than the SHA extensions.
#[cfg(target_arch = "x86_64")]
const AVX512_LEAST: usize = 10;

/// With fewer streams than this, the eight lanes of AVX2 are slower than one stream after another.
#[cfg(target_arch = "x86_64")]
const AVX2_LEAST: usize = 4;

/// With fewer streams than this, interleaved SHA extensions are as fast as the split kernel.
#[cfg(target_arch = "x86_64")]
const SPLIT_LEAST: usize = 3;

/// The round constants: FIPS 180-4, section 4.2.2.
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4,
    0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe,
    0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f,
    0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da, 0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
    0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc,
    0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85, 0xa2bf_e8a1, 0xa81a_664b,
    0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070, 0x19a4_c116,
    0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7,
    0xc671_78f2,
];

/// A message of which some blocks are absorbed.
#[derive(Debug)]
pub struct Stream<'a> {
    /// The chaining state.
    pub state: &'a mut State,
    /// The whole blocks to absorb.
    pub blocks: &'a [u8],
}

/// Absorbs the blocks of every stream, whatever their number and lengths. Equally long streams go
/// fastest. Takes the SHA extensions as well, where the machine has them.
///
/// # Panics
/// When a stream is not whole blocks.
pub fn compress(backend: Backend, streams: &mut [Stream<'_>]) {
    for stream in &*streams {
        assert!(stream.blocks.len().is_multiple_of(BLOCK_LEN), "a stream of whole blocks");
    }
    match backend.token {
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => {
            if split::is_fast() {
                side_by_side(SPLIT_LEAST, streams, |states, blocks| {
                    // SAFETY: the token exists, so this machine has AVX-512 with VBMI2; `is_fast`
                    // has found the SHA extensions.
                    unsafe { split::compress(states, blocks) }
                });
            } else {
                side_by_side(AVX512_LEAST, streams, |states, blocks| {
                    // SAFETY: the token exists, so this machine has AVX-512.
                    unsafe { avx512::compress(states, blocks) }
                });
            }
            sha_ni(streams);
        }
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(_, Sha::Extensions) if sha_ni::is_available() => sha_ni(streams),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => side_by_side(AVX2_LEAST, streams, |states, blocks| {
            // SAFETY: the token exists, so this machine has AVX2.
            unsafe { avx2::compress(states, blocks) }
        }),
        #[cfg(target_arch = "aarch64")]
        Token::Neon(_) => neon(streams),
        _ => {}
    }
    for stream in streams {
        scalar::compress(stream.state, stream.blocks.as_chunks().0);
    }
}

/// Returns how many streams [`compress`] takes side by side: with so many at a time, or a multiple,
/// it goes fastest.
pub fn width(backend: Backend) -> usize {
    match backend.token {
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) if split::is_fast() => 4,
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => 16,
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(_, Sha::Extensions) if sha_ni::is_available() => 3,
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => 8,
        #[cfg(target_arch = "aarch64")]
        Token::Neon(_) if neon::is_available() => 3,
        _ => 1,
    }
}

/// Absorbs as many streams as it can with the SHA extensions of x86-64.
#[cfg(target_arch = "x86_64")]
fn sha_ni(streams: &mut [Stream<'_>]) {
    if sha_ni::is_available() {
        // SAFETY: the machine has the SHA extensions.
        side_by_side::<3>(3, streams, |states, blocks| unsafe { sha_ni::compress(states, blocks) });
        // SAFETY: as above.
        side_by_side::<2>(2, streams, |states, blocks| unsafe { sha_ni::compress(states, blocks) });
    }
}

/// Absorbs as many streams as it can with the SHA extensions of ARM.
#[cfg(target_arch = "aarch64")]
fn neon(streams: &mut [Stream<'_>]) {
    if neon::is_available() {
        // SAFETY: the machine has the SHA extensions.
        side_by_side::<3>(3, streams, |states, blocks| unsafe { neon::compress(states, blocks) });
        // SAFETY: as above.
        side_by_side::<2>(2, streams, |states, blocks| unsafe { neon::compress(states, blocks) });
    }
}

/// Drives a kernel for N streams, until fewer than `least` are left: gives it as many blocks as all
/// of them have, and the next stream in place of one that has ended. Where there are fewer than N
/// streams, the kernel gets one of them again, and that result is dropped.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn side_by_side<const N: usize>(
    least: usize,
    streams: &mut [Stream<'_>],
    kernel: impl Fn(&mut [State; N], [&[[u8; BLOCK_LEN]]; N]),
) {
    let mut waiting = streams.iter_mut().filter(|stream| !stream.blocks.is_empty());
    let mut active: [Option<&mut Stream<'_>>; N] = [const { None }; N];
    loop {
        for slot in &mut active {
            if slot.as_ref().is_none_or(|stream| stream.blocks.is_empty()) {
                *slot = waiting.next();
            }
        }
        let lengths = active.iter().flatten().map(|stream| stream.blocks.len() / BLOCK_LEN);
        let Some(common) = lengths.clone().min().filter(|_| lengths.count() >= least) else {
            return;
        };
        let any = active.iter().flatten().next().map_or(&[][..], |stream| stream.blocks);
        let mut states = [INITIAL; N];
        let mut blocks = [&any.as_chunks().0[..common]; N];
        for ((state, blocks), stream) in states.iter_mut().zip(&mut blocks).zip(&active) {
            if let Some(stream) = stream {
                *state = *stream.state;
                *blocks = &stream.blocks.as_chunks().0[..common];
            }
        }
        kernel(&mut states, blocks);
        for (stream, state) in active.iter_mut().zip(states) {
            if let Some(stream) = stream {
                *stream.state = state;
                stream.blocks = &stream.blocks[common * BLOCK_LEN..];
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// A machine prefers one of the kernels: the suites may have passed over the others.
    #[test]
    fn every_kernel_is_tested_on_every_machine_that_can_run_it() {
        if Backend::new(crate::Isa::Avx2).is_some() {
            // SAFETY: the machine has AVX2.
            check(|states, blocks| unsafe { avx2::compress(states, blocks) });
        }
        if Backend::new(crate::Isa::Avx512).is_none() {
            return;
        }
        // SAFETY: the machine has AVX-512.
        check(|states, blocks| unsafe { avx512::compress(states, blocks) });
        if sha_ni::is_available() {
            // SAFETY: the machine has AVX-512, VBMI2 with it, and the SHA extensions.
            check(|states, blocks| unsafe { split::compress(states, blocks) });
        }
    }

    fn check<const N: usize>(kernel: impl Fn(&mut [State; N], [&[[u8; BLOCK_LEN]]; N])) {
        let blocks: Vec<[u8; BLOCK_LEN]> =
            (0..5 * N).map(|i| std::array::from_fn(|j| (i * j * j + i) as u8)).collect();
        for len in [0, 1, 2, 5] {
            let starts: [State; N] = std::array::from_fn(|i| INITIAL.map(|w| w ^ i as u32));
            let parts = std::array::from_fn(|i| &blocks[5 * i..][..len]);
            let (mut expected, mut found) = (starts, starts);
            for (state, part) in expected.iter_mut().zip(parts) {
                scalar::compress(state, part);
            }
            kernel(&mut found, parts);
            assert_eq!(found, expected, "{len} blocks");
        }
    }
}
