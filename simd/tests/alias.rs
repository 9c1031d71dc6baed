//! Every back-end against the scalar reference, which is held against a slow definition.

mod common;

use at1w_simd::alias::{self, AliasTable, Input, MAX_ENTRIES, SLOTS, START};
use at1w_simd::lanes::Exhausted;
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

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
    let symbols: Vec<u8> = (0..entries - usize::from(escape)).map(|i| (4 * i) as u8).collect();
    AliasTable::new(&symbols, &freqs).expect("frequencies that add up")
}

/// What a decoder leaves.
#[derive(Debug, PartialEq)]
struct Output {
    symbols: Vec<u8>,
    states: Vec<u32>,
    units: usize,
    escaped: usize,
}

fn decode(
    backend: Backend,
    table: &AliasTable,
    states: &[u32],
    mut input: Input<'_>,
    low: &[u8],
    piece: usize,
) -> Result<Output, Exhausted> {
    let (mut symbols, mut states) = (low.to_vec(), states.to_vec());
    for out in symbols.chunks_mut(piece.max(1)) {
        alias::decode(backend, table, &mut states, &mut input, out)?;
    }
    let (units, escaped) = (input.units.len(), input.escaped.len());
    Ok(Output { symbols, states, units, escaped })
}

/// Encodes entries of random slots and decodes them, whole and in pieces, then with input that ends
/// early.
fn holds(isa: Isa, lanes: usize, entries: usize, escape: bool, n: usize, seed: u64) {
    let Some(backend) = available(isa) else { return };
    let table = table(entries, escape, seed);
    let used: Vec<u8> = (0..entries as u8).filter(|&e| table.freqs()[usize::from(e)] > 0).collect();
    let mut next = random(seed + 1);
    let coded: Vec<u8> = (0..n).map(|_| used[next() as usize % used.len()]).collect();
    let low: Vec<u8> = noise(seed + 2, n).iter().map(|byte| byte & 3).collect();
    let (mut states, mut units) = (vec![0; lanes], vec![[0; 2]; n]);
    let taken = alias::encode(&table, &coded, &mut states, &mut units);
    let units = &units[n - taken..];
    let is_escape = |&entry: &u8| escape && usize::from(entry) == entries - 1;
    let escaped = noise(seed + 3, coded.iter().filter(|&entry| is_escape(entry)).count());
    let mut next_escaped = escaped.iter();
    let symbols = coded.iter().zip(&low).map(|(entry, low)| match is_escape(entry) {
        true => next_escaped.next().expect("so many").wrapping_add(*low),
        false => 4 * entry + low,
    });
    let input = Input { units, escaped: &escaped };
    let expected =
        Output { symbols: symbols.collect(), states: vec![START; lanes], units: 0, escaped: 0 };
    for piece in [n, lanes, 3 * lanes] {
        let output = decode(backend, &table, &states, input, &low, piece);
        assert_eq!(output.as_ref(), Ok(&expected));
    }
    if let Some((_, cut)) = units.split_last() {
        let output = decode(backend, &table, &states, Input { units: cut, ..input }, &low, n);
        assert_eq!(output, Err(Exhausted::Stream));
    }
    if let Some((_, cut)) = escaped.split_last() {
        let output = decode(backend, &table, &states, Input { escaped: cut, ..input }, &low, n);
        assert_eq!(output, Err(Exhausted::Escaped));
    }
    // Any states and any units are safe, and leave the same on all back-ends.
    let states: Vec<u32> = states.iter().map(|_| next() as u32 | START).collect();
    let (units, escaped) = (noise(seed + 4, 2 * n), noise(seed + 5, n));
    let input = Input { units: units.as_chunks().0, escaped: &escaped };
    let scalar = decode(Backend::new(Isa::Scalar).expect("any"), &table, &states, input, &low, n);
    assert_eq!(decode(backend, &table, &states, input, &low, n), scalar);
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
    assert!(AliasTable::new(&[1, 2], &[4000, 95]).is_none());
    assert!(AliasTable::new(&[1, 2], &[4095, 2]).is_none());
    assert!(AliasTable::new(&[1], &[4096]).is_none());
    assert!(AliasTable::new(&[1, 2, 3], &[4095, 1]).is_none());
    assert!(AliasTable::new(&[0; 65], &[63; 65]).is_none());
    assert!(AliasTable::new(&[], &[]).is_none());
}
