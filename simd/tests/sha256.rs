//! Every back-end against the `sha2` crate, on any number of streams of any lengths.

mod common;

use at1w_simd::sha256::{BLOCK_LEN, INITIAL, State, Stream, compress, width};
use at1w_simd::{Backend, Isa};
use common::{available, noise};
use proptest::prelude::*;
use sha2::digest::generic_array::GenericArray;

fn start(seed: u64) -> State {
    let bytes = noise(seed, 32);
    std::array::from_fn(|i| u32::from_le_bytes(*bytes[4 * i..].first_chunk().unwrap()))
}

/// Absorbs messages of so many blocks, each at another offset in memory, from any states.
fn agrees(backend: Backend, lengths: &[usize], seed: u64) {
    let offset = |i: usize| (seed as usize).wrapping_add(5 * i) % 64;
    let messages: Vec<Vec<u8>> = lengths
        .iter()
        .enumerate()
        .map(|(i, blocks)| noise(seed ^ i as u64, offset(i) + blocks * BLOCK_LEN))
        .collect();
    let starts: Vec<State> =
        (0..lengths.len() as u64).map(|i| start(seed.wrapping_add(i))).collect();

    let mut states = starts.clone();
    let mut streams: Vec<Stream<'_>> = states
        .iter_mut()
        .zip(messages.iter().enumerate())
        .map(|(state, (i, message))| Stream { state, blocks: &message[offset(i)..] })
        .collect();
    compress(backend, &mut streams);

    for (i, (message, mut expected)) in messages.iter().zip(starts).enumerate() {
        let blocks: Vec<_> =
            message[offset(i)..].chunks(BLOCK_LEN).map(|b| *GenericArray::from_slice(b)).collect();
        sha2::compress256(&mut expected, &blocks);
        assert_eq!(states[i], expected, "stream {i} of {lengths:?}");
    }
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn equal_lengths_agree_with_sha2() {
                let Some(backend) = available($isa) else { return };
                for streams in 0..=40 {
                    for blocks in [0, 1, 2, 7] {
                        agrees(backend, &vec![blocks; streams], streams as u64);
                    }
                }
                agrees(backend, &vec![300; width(backend)], 9);
            }

            #[test]
            fn any_lengths_agree_with_sha2() {
                let Some(backend) = available($isa) else { return };
                let lengths = prop::collection::vec(0..20_usize, 0..40);
                proptest!(|(lengths in lengths, seed in any::<u64>())| {
                    agrees(backend, &lengths, seed);
                });
            }
        }
    )*};
}

suite! {
    scalar: Isa::Scalar;
    avx2: Isa::Avx2;
    avx2_soft: Isa::Avx2Soft;
    avx512: Isa::Avx512;
    neon: Isa::Neon;
}

/// FIPS 180-4 has no example without padding, so this pads: one block of `abc`.
#[test]
fn known_digest() {
    let mut block = [0; BLOCK_LEN];
    block[..4].copy_from_slice(b"abc\x80");
    block[63] = 24;
    let mut states = vec![INITIAL; width(Backend::best()) + 1];
    let mut streams: Vec<_> =
        states.iter_mut().map(|state| Stream { state, blocks: &block }).collect();
    compress(Backend::best(), &mut streams);
    let digest = [
        0xba78_16bf,
        0x8f01_cfea,
        0x4141_40de,
        0x5dae_2223,
        0xb003_61a3,
        0x9617_7a9c,
        0xb410_ff61,
        0xf200_15ad,
    ];
    assert!(states.iter().all(|state| *state == digest));
}

#[test]
#[should_panic(expected = "whole blocks")]
fn refuses_a_part_of_a_block() {
    compress(Backend::best(), &mut [Stream { state: &mut { INITIAL }, blocks: &[0; 65] }]);
}
