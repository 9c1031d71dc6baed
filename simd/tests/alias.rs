//! Every back-end against the scalar reference, which is held against a slow definition.

mod common;

use at1w_simd::alias::{self, AliasTable, Input, MAX_ENTRIES, SLOTS, START, Values};
use at1w_simd::lanes::Exhausted;
use at1w_simd::planes::{Layout, merge};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// Values of any kind.
fn values(seed: u64) -> Values {
    Values { turn: seed % 2 == 1, shift: (seed / 2 % 4) as u8, first: (seed / 8) as u8 }
}

/// A table of so many entries, some without slots, maybe with an escape.
fn table(entries: usize, escape: bool, seed: u64) -> AliasTable {
    let mut next = random(seed);
    let mut freqs = vec![0; entries];
    let mut left = SLOTS - 2;
    for freq in &mut freqs {
        *freq = (next() as usize % (left / 4 + 1)) as u16;
        left -= usize::from(*freq);
    }
    // Both ends have some, so that none has all.
    freqs[0] += 1 + left as u16;
    freqs[entries - 1] += 1;
    AliasTable::new(values(seed), escape, &freqs).expect("frequencies that add up")
}

/// What a decoder leaves.
#[derive(Clone, Debug, PartialEq)]
struct Output {
    bytes: Vec<u8>,
    states: Vec<u32>,
    units: usize,
    escaped: usize,
}

fn decode(
    backend: Backend,
    table: &AliasTable,
    states: &[u32],
    mut input: Input<'_>,
    bits: &[u8],
    piece: usize,
) -> Result<Output, Exhausted> {
    let (mut bytes, mut states) = (vec![0xa5; bits.len()], states.to_vec());
    let piece = piece.max(1);
    for (bits, out) in bits.chunks(piece).zip(bytes.chunks_mut(piece)) {
        alias::decode(backend, table, &mut states, &mut input, bits, out)?;
    }
    let (units, escaped) = (input.units.len(), input.escaped.len());
    Ok(Output { bytes, states, units, escaped })
}

/// Checks that decoding into words is what decoding and then merging gives.
fn merges_alike(
    backend: Backend,
    table: &AliasTable,
    states: &[u32],
    mut input: Input<'_>,
    bits: &[u8],
    piece: usize,
) {
    let decoded = decode(Backend::SCALAR, table, states, input, bits, bits.len());
    let low = noise(states.len() as u64, bits.len());
    let (mut words, mut states) = (vec![0xa5; 2 * bits.len()], states.to_vec());
    let piece = piece.max(1);
    let mut below = bits.chunks(piece).zip(low.chunks(piece));
    let done = words.chunks_mut(2 * piece).try_for_each(|out| {
        let (bits, low) = below.next().expect("as many pieces");
        alias::decode_float16(backend, table, &mut states, &mut input, [bits, low], out)
    });
    let (units, escaped) = (input.units.len(), input.escaped.len());
    let output = done.map(|()| Output { bytes: words, states, units, escaped });
    let expected = decoded.map(|decoded| {
        let mut words = vec![0; 2 * bits.len()];
        merge(Backend::SCALAR, Layout::FLOAT16, &[&low, &decoded.bytes], &mut words);
        Output { bytes: words, ..decoded }
    });
    assert_eq!(output, expected);
}

/// Encodes entries of random slots and decodes them, whole and in pieces, then with input that ends
/// early.
fn holds(isa: Isa, lanes: usize, entries: usize, escape: bool, n: usize, seed: u64) {
    let Some(backend) = available(isa) else { return };
    let table = table(entries, escape, seed);
    let used: Vec<u8> = (0..entries as u8).filter(|&e| table.freqs()[usize::from(e)] > 0).collect();
    let mut next = random(seed + 1);
    let coded: Vec<u8> = (0..n).map(|_| used[next() as usize % used.len()]).collect();
    let values = values(seed);
    let below = (1 << values.shift) - 1;
    let low: Vec<u8> = noise(seed + 2, n).iter().map(|byte| byte & below).collect();
    let (mut states, mut units) = (vec![0; lanes], vec![[0; 2]; n]);
    let taken = alias::encode(&table, &coded, &mut states, &mut units);
    let units = &units[n - taken..];
    let is_escape = |&entry: &u8| escape && usize::from(entry) == entries - 1;
    let escaped = noise(seed + 3, coded.iter().filter(|&entry| is_escape(entry)).count());
    let mut next_escaped = escaped.iter();
    let bytes = coded.iter().zip(&low).map(|(entry, low)| {
        let symbol = match is_escape(entry) {
            true => *next_escaped.next().expect("so many"),
            false => values.first.wrapping_add(*entry) << values.shift,
        };
        symbol.wrapping_add(*low).rotate_right(values.turn.into())
    });
    let input = Input { units, escaped: &escaped };
    let expected =
        Output { bytes: bytes.collect(), states: vec![START; lanes], units: 0, escaped: 0 };
    for piece in [n, lanes, 3 * lanes] {
        let output = decode(backend, &table, &states, input, &low, piece);
        assert_eq!(output.as_ref(), Ok(&expected));
        merges_alike(backend, &table, &states, input, &low, piece);
    }
    if let Some((_, cut)) = units.split_last() {
        let input = Input { units: cut, ..input };
        let output = decode(backend, &table, &states, input, &low, n);
        assert_eq!(output, Err(Exhausted::Stream));
        merges_alike(backend, &table, &states, input, &low, n);
    }
    if let Some((_, cut)) = escaped.split_last() {
        let input = Input { escaped: cut, ..input };
        let output = decode(backend, &table, &states, input, &low, n);
        assert_eq!(output, Err(Exhausted::Escaped));
        merges_alike(backend, &table, &states, input, &low, n);
    }
    // Any states and any units are safe, and leave the same on all back-ends.
    let states: Vec<u32> = states.iter().map(|_| next() as u32 | START).collect();
    let (units, escaped) = (noise(seed + 4, 2 * n), noise(seed + 5, n));
    let input = Input { units: units.as_chunks().0, escaped: &escaped };
    let scalar = decode(Backend::SCALAR, &table, &states, input, &low, n);
    assert_eq!(decode(backend, &table, &states, input, &low, n), scalar);
    merges_alike(backend, &table, &states, input, &low, n);
}

proptest! {
    #[test]
    fn scalar(k in 0..4usize, e in 2..=MAX_ENTRIES, escape: bool, n in 0..900usize, seed: u32) {
        holds(Isa::Scalar, [1, 5, 64, 128][k], e, escape, n, seed.into());
    }

    #[test]
    fn avx2(k in 0..2usize, e in 2..=MAX_ENTRIES, escape: bool, n in 0..900usize, seed: u32) {
        holds(Isa::Avx2, 64 << k, e, escape, n, seed.into());
    }

    #[test]
    fn avx512(k in 0..2usize, e in 2..=MAX_ENTRIES, escape: bool, n in 0..900usize, seed: u32) {
        holds(Isa::Avx512, 64 << k, e, escape, n, seed.into());
    }
}

#[test]
fn every_tail_comes_back() {
    for isa in Isa::ALL {
        for n in 0..=400 {
            holds(isa, 64 << (n % 2), [20, 32, 33, 64][n / 2 % 4], n % 3 == 0, n, n as u64);
        }
    }
}

#[test]
fn tables_that_do_not_add_up_are_refused() {
    let new = |freqs: &[u16]| AliasTable::new(values(0), false, freqs);
    assert!(new(&[4000, 95]).is_none());
    assert!(new(&[4095, 2]).is_none());
    assert!(new(&[4096]).is_none());
    assert!(new(&[63; 65]).is_none());
    assert!(new(&[]).is_none());
    assert!(new(&[4095, 1]).is_some());
}
