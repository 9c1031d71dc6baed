//! Every back-end against the scalar reference, and that against its own steps.

mod common;

use at1w_simd::byte_contexts::{self, ByteTables, LANES, SLOTS, START};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// Tables of so many contexts, from two symbols to all.
fn tables(contexts: usize, seed: u64) -> ByteTables {
    let mut next = random(seed);
    let mut tables = ByteTables::default();
    for context in 0..contexts {
        let mut freqs = [0; 256];
        let symbols = [2, 30, 256][(context + seed as usize) % 3];
        let mut left = SLOTS - symbols;
        for freq in &mut freqs[..symbols] {
            let share = next() as usize % (left / 8 + 1);
            *freq = share as u16 + 1;
            left -= share;
        }
        freqs[symbols - 1] += left as u16;
        tables.push(&freqs);
    }
    tables
}

#[derive(Debug, PartialEq)]
struct Output {
    symbols: Vec<u8>,
    states: [u32; LANES],
    left: usize,
}

fn decode(
    backend: Backend,
    tables: &ByteTables,
    states: [u32; LANES],
    units: &[[u8; 2]],
    contexts: &[u8],
) -> Output {
    let (mut states, mut units, mut symbols) = (states, units, vec![0xa5; contexts.len()]);
    let done =
        byte_contexts::decode(backend, tables, &mut states, &mut units, contexts, &mut symbols);
    assert!(symbols[done..].iter().all(|&s| s == 0xa5), "wrote more than it said");
    symbols.truncate(done);
    Output { symbols, states, left: units.len() }
}

fn step_by_step(
    tables: &ByteTables,
    mut states: [u32; LANES],
    mut units: &[[u8; 2]],
    contexts: &[u8],
) -> Output {
    let mut symbols = Vec::new();
    for round in contexts.chunks_exact(LANES) {
        if units.len() < LANES {
            break;
        }
        for (state, &context) in states.iter_mut().zip(round) {
            let (symbol, refilled) = tables.step(context, state, u16::from_le_bytes(units[0]));
            symbols.push(symbol);
            units = &units[usize::from(refilled)..];
        }
    }
    Output { symbols, states, left: units.len() }
}

fn holds(isa: Isa, contexts: usize, n: usize, units: usize, seed: u64) {
    let Some(backend) = available(isa) else { return };
    let tables = tables(contexts, seed);
    let mut next = random(seed + 1);
    let states = [(); LANES].map(|()| next() as u32 | START);
    let units = noise(seed + 2, 2 * units);
    let units: &[[u8; 2]] = units.as_chunks().0;
    let of: Vec<u8> = noise(seed + 3, n).iter().map(|&c| c % contexts as u8).collect();
    let output = decode(backend, &tables, states, units, &of);
    assert_eq!(output, step_by_step(&tables, states, units, &of));
}

proptest! {
    #[test]
    fn scalar(contexts in 1..=16usize, n in 0..900usize, units in 0..700usize, seed: u32) {
        holds(Isa::Scalar, contexts, n, units, seed.into());
    }

    #[test]
    fn avx2(contexts in 1..=16usize, n in 0..900usize, units in 0..700usize, seed: u32) {
        holds(Isa::Avx2, contexts, n, units, seed.into());
    }

    #[test]
    fn avx512(contexts in 1..=16usize, n in 0..900usize, units in 0..700usize, seed: u32) {
        holds(Isa::Avx512, contexts, n, units, seed.into());
    }
}

#[test]
#[should_panic(expected = "a context without a table")]
fn a_context_without_a_table_is_refused() {
    decode(Backend::best(), &tables(2, 1), [START; LANES], &[], &[2; LANES]);
}
