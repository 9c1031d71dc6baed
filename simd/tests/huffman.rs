//! Every back-end against the definition of the code, bit by bit, on right, cut, longer and random
//! streams.

mod common;

use at1w_simd::huffman::{Codes, MAX_BITS, Slots, decode, decode_short, encode, room};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// The byte that no test may overwrite, after each destination.
const CANARY: u8 = 0xa5;

/// A canonical code with one symbol for each length, in order; lengths make it complete.
fn codes(lengths: &[u8], seed: u64) -> Codes {
    let mut codes = [0; 256];
    let mut symbols: Vec<usize> = (0..256).collect();
    let mut next = random(seed);
    for i in (1..256).rev() {
        symbols.swap(i, next() as usize % (i + 1));
    }
    let mut code = 0u16;
    let mut last = 0;
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    for (&length, symbol) in sorted.iter().zip(symbols) {
        code <<= length - last;
        codes[symbol] = code << 4 | u16::from(length);
        code += 1;
        last = length;
    }
    codes
}

/// Lengths of a complete code: splits a random leaf again and again.
fn lengths(leaves: usize, seed: u64) -> Vec<u8> {
    let mut lengths = vec![1, 1];
    let mut next = random(seed);
    while lengths.len() < leaves {
        let leaf = next() as usize % lengths.len();
        if u32::from(lengths[leaf]) < MAX_BITS {
            lengths[leaf] += 1;
            lengths.push(lengths[leaf]);
        }
    }
    lengths
}

/// Symbols that have codes, the shorter ones more often.
fn draw(codes: &Codes, seed: u64, len: usize) -> Vec<u8> {
    let coded: Vec<u8> = (0..=255).filter(|&s| codes[usize::from(s)] != 0).collect();
    let mut next = random(seed);
    let mut one = || coded[next() as usize % coded.len()];
    (0..len)
        .map(|_| {
            let (a, b) = (one(), one());
            if codes[usize::from(a)] & 15 < codes[usize::from(b)] & 15 { a } else { b }
        })
        .collect()
}

/// The codes of `symbols`, bit by bit.
fn defined_encoding(codes: &Codes, symbols: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &symbol in symbols {
        let code = codes[usize::from(symbol)];
        bits.extend((0..code & 15).rev().map(|bit| (code >> 4 >> bit & 1) as u8));
    }
    bits.chunks(8).map(|b| (0..8).fold(0, |byte, i| byte << 1 | b.get(i).unwrap_or(&0))).collect()
}

/// The first `n` symbols of a stream, bit by bit, with zeros after it; and the bits that they took.
fn defined_decoding(codes: &Codes, stream: &[u8], n: usize) -> (Vec<u8>, usize) {
    let mut position = 0;
    let symbols = (0..n).map(|_| {
        let mut code = 0;
        for length in 1.. {
            let byte = stream.get(position / 8).unwrap_or(&0);
            code = code << 1 | u16::from(byte >> (7 - position % 8) & 1);
            position += 1;
            if let Some(symbol) = codes.iter().position(|&c| c == code << 4 | length) {
                return symbol as u8;
            }
        }
        unreachable!("the code is complete")
    });
    (symbols.collect(), position)
}

fn decodes_as_defined(backend: Backend, codes: &Codes, streams: [&[u8]; 4], lens: [usize; 4]) {
    let slots = Slots::new(codes).expect("a complete code");
    let mut outs = lens.map(|len| vec![CANARY; len + 16]);
    let mut at = outs.iter_mut().zip(lens).map(|(out, len)| &mut out[..len]);
    let at = [(); 4].map(|()| at.next().unwrap());
    let read = decode(backend, &slots, streams, at);
    for i in 0..4 {
        let (symbols, bits) = defined_decoding(codes, streams[i], lens[i]);
        let (out, after) = outs[i].split_at(lens[i]);
        assert!(out == symbols, "stream {i} of {lens:?}");
        assert_eq!(read[i], bits, "stream {i} of {lens:?}");
        let mut short = vec![CANARY; lens[i]];
        assert_eq!(decode_short(codes, streams[i], &mut short), bits);
        assert!(short == symbols, "stream {i} of {lens:?}, as a short one");
        assert!(after.iter().all(|&b| b == CANARY), "wrote after");
    }
}

fn agrees(backend: Backend, codes: &Codes, lens: [usize; 4], seed: u64) {
    let symbols: Vec<Vec<u8>> =
        lens.iter().zip(seed..).map(|(&len, seed)| draw(codes, seed, len)).collect();
    let symbols: [&[u8]; 4] = std::array::from_fn(|i| &symbols[i][..]);
    let mut outs = symbols.map(|symbols| vec![CANARY; room(symbols.len()) + 16]);
    let mut at = outs.iter_mut().zip(lens).map(|(out, len)| &mut out[..room(len)]);
    let at = [(); 4].map(|()| at.next().unwrap());
    let used = encode(backend, codes, symbols, at);
    for i in 0..4 {
        assert!(
            outs[i][..used[i]] == defined_encoding(codes, symbols[i]),
            "stream {i} of {lens:?}"
        );
        assert!(outs[i][room(lens[i])..].iter().all(|&b| b == CANARY), "wrote after");
    }
    for (cut, more) in [(0, 0), (1, 0), (9, 0), (0, 1), (0, 30)] {
        let streams: Vec<Vec<u8>> = outs
            .iter()
            .zip(used)
            .map(|(out, used)| [&out[..used.saturating_sub(cut)], &vec![0x5a; more]].concat())
            .collect();
        decodes_as_defined(backend, codes, std::array::from_fn(|i| &streams[i][..]), lens);
    }
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn every_small_length_is_as_defined() {
                let Some(backend) = available($isa) else { return };
                for leaves in [2, 3, 40, 256] {
                    let codes = codes(&lengths(leaves, 3), 5);
                    for n in 0..70 {
                        agrees(backend, &codes, [n, n, n, n], n as u64);
                        agrees(backend, &codes, [n, 0, 70 - n, 3], n as u64);
                    }
                }
            }

            #[test]
            fn any_lengths_are_as_defined() {
                let Some(backend) = available($isa) else { return };
                proptest!(ProptestConfig::with_cases(64), |(
                    leaves in 2..=256_usize,
                    lens in prop::array::uniform4(0..1500_usize),
                    seed in any::<u32>(),
                )| {
                    agrees(backend, &codes(&lengths(leaves, seed.into()), 7), lens, seed.into());
                });
            }

            #[test]
            fn noise_decodes_as_defined() {
                let Some(backend) = available($isa) else { return };
                proptest!(ProptestConfig::with_cases(64), |(
                    leaves in 2..=256_usize,
                    lens in prop::array::uniform4(0..1500_usize),
                    bytes in prop::array::uniform4(0..1500_usize),
                    seed in any::<u32>(),
                )| {
                    let codes = codes(&lengths(leaves, seed.into()), 9);
                    let streams = bytes.map(|len| noise(seed.into(), len));
                    let streams = std::array::from_fn(|i| &streams[i][..]);
                    decodes_as_defined(backend, &codes, streams, lens);
                });
            }
        }
    )*};
}

suite! {
    scalar: Isa::Scalar;
    avx2: Isa::Avx2;
    avx512: Isa::Avx512;
    neon: Isa::Neon;
}

#[test]
fn slots_take_complete_codes_only() {
    let complete = codes(&[1, 2, 2], 1);
    assert!(Slots::new(&complete).is_some());
    assert!(Slots::new(&codes(&[1, 2], 1)).is_none(), "bits without a symbol");
    assert!(Slots::new(&[0; 256]).is_none());
    let mut bad = complete;
    bad[9] = 0xffff;
    assert!(Slots::new(&bad).is_none(), "a code that is too long");
    bad[9] = 0x7ff << 4 | 1;
    assert!(Slots::new(&bad).is_none(), "a code beyond its length");
}

#[test]
fn slots_take_no_codes_that_overlap() {
    let mut codes = [0; 256];
    // 00, 0 and 10 have as many slots as there are, but none of them begins with 11.
    (codes[1], codes[2], codes[3]) = (2, 1, 2 << 4 | 2);
    assert!(Slots::new(&codes).is_none(), "a code that another begins with");
    (codes[1], codes[2], codes[3]) = (1 << 4 | 2, 1, 2 << 4 | 2);
    assert!(Slots::new(&codes).is_none(), "a code within another");
    (codes[1], codes[2], codes[3]) = (1, 1, 0);
    assert!(Slots::new(&codes).is_none(), "a code twice");
    (codes[1], codes[2], codes[3]) = (3 << 4 | 2, 1, 2 << 4 | 2);
    assert!(Slots::new(&codes).is_some(), "complete, in whatever order");
}

#[test]
#[should_panic(expected = "room for the longest codes")]
fn encode_refuses_a_short_output() {
    let outs = [&mut [0; 10][..], &mut [0; 8], &mut [0; 8], &mut [0; 8]];
    encode(Backend::SCALAR, &codes(&[1, 1], 1), [&[0; 3], &[], &[], &[]], outs);
}
