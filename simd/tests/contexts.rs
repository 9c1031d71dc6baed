//! Every back-end against the scalar reference, and the scalar reference against its own steps.

mod common;

use at1w_simd::contexts::{self, ContextTables, LANES, SLOTS, START, SYMBOLS};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// Tables of so many contexts, from all slots for one symbol to few for each.
fn tables(contexts: usize, seed: u64) -> ContextTables {
    let mut next = random(seed);
    let mut tables = ContextTables::default();
    for context in 0..contexts {
        let mut freqs = [0; SYMBOLS];
        let symbols = [1, 2, 30, 256][(context + seed as usize) % 4];
        let mut left = SLOTS;
        for freq in freqs.iter_mut().take(symbols - 1) {
            let share = next() as usize % (left / 8 + 1);
            *freq = share as u16;
            left -= share;
        }
        freqs[symbols - 1] = left as u16;
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
    tables: &ContextTables,
    states: [u32; LANES],
    units: &[[u8; 2]],
    contexts: &[u8],
    n: usize,
) -> Output {
    let (mut states, mut units, mut symbols) = (states, units, vec![0xa5; n]);
    let done = contexts::decode(backend, tables, &mut states, &mut units, contexts, &mut symbols);
    assert!(symbols[done..].iter().all(|&s| s == 0xa5), "wrote more than it said");
    symbols.truncate(done);
    Output { symbols, states, left: units.len() }
}

fn step_by_step(
    tables: &ContextTables,
    mut states: [u32; LANES],
    mut units: &[[u8; 2]],
    contexts: &[u8],
    n: usize,
) -> Output {
    let mut symbols = Vec::new();
    while symbols.len() + LANES <= n && units.len() >= LANES {
        for state in &mut states {
            let context = contexts.get(symbols.len()).map_or(0, |context| context & 15);
            let (symbol, refilled) = tables.step(context, state, u16::from_le_bytes(units[0]));
            symbols.push(symbol);
            units = &units[usize::from(refilled)..];
        }
    }
    Output { symbols, states, left: units.len() }
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        #[test]
        fn $name() {
            let Some(backend) = available($isa) else { return };
            proptest!(|(
                count in 1..=16_usize,
                seed in any::<u64>(),
                n in 0..3000_usize,
                units in 0..3000_usize,
                plain in any::<bool>(),
            )| {
                let tables = tables(count, seed);
                let mut next = random(seed);
                let states = [(); LANES].map(|()| (next() as u32).max(START));
                let units: Vec<[u8; 2]> =
                    noise(seed, 2 * units).as_chunks().0.to_vec();
                // The high bits of a context don't count.
                let contexts: Vec<u8> = (0..if plain { 0 } else { n })
                    .map(|_| (next() as usize % count) as u8 | (next() as u8 & 0xf0))
                    .collect();
                let expected = step_by_step(&tables, states, &units, &contexts, n);
                prop_assert_eq!(decode(backend, &tables, states, &units, &contexts, n), expected);
            });
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
#[should_panic(expected = "a context without a table")]
fn a_context_without_a_table_panics() {
    let tables = tables(3, 1);
    decode(Backend::best(), &tables, [START; LANES], &[[0; 2]; 99], &[3; 32], 32);
}

#[test]
fn refused_frequencies_leave_the_tables_as_they_were() {
    let good = tables(3, 1);
    let mut tried = good.clone();
    for sum in [0, SLOTS - 1, SLOTS + 1, 4 * SLOTS - 1] {
        let mut freqs = [0; SYMBOLS];
        freqs[255] = sum as u16;
        let push = std::panic::AssertUnwindSafe(|| tried.push(&freqs));
        assert!(std::panic::catch_unwind(push).is_err(), "{sum} slots");
    }
    let units = noise(1, 4000);
    let (units, _) = units.as_chunks();
    // States whose slots are the last ones, after which vector back-ends read on.
    let states = [u32::MAX; LANES];
    for backend in Backend::available() {
        let expected = decode(backend, &good, states, units, &[2; 960], 960);
        assert_eq!(decode(backend, &tried, states, units, &[2; 960], 960), expected);
    }
    let mut freqs = [0; SYMBOLS];
    freqs[9] = SLOTS as u16;
    tried.push(&freqs);
    assert_eq!(tried.range(3, 9), (SLOTS as u32, 0));
}
