//! Runs the fuzz targets on kept inputs and on some random ones. Small seeds are kept, and inputs
//! that once crashed a target.

use std::path::PathBuf;

use at1w_tests::Random;
use at1w_tests::fuzzing::{TARGETS, fuzz};

/// Returns the inputs of a kind for a target.
fn kept(kind: &str, target: &str) -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target);
    let Ok(entries) = root.read_dir() else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn seeds_pass() {
    for (target, _) in TARGETS {
        let seeds = kept("seeds", target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds.iter().for_each(|seed| fuzz(target, seed));
    }
}

#[test]
fn what_crashed_once_passes() {
    for (target, _) in TARGETS {
        kept("regressions", target).iter().for_each(|input| fuzz(target, input));
    }
}

#[test]
fn random_inputs_pass() {
    let mut random = Random::new(12);
    for (target, _) in TARGETS {
        for _ in 0..100 {
            let len = random.bits() as usize % 1500;
            fuzz(target, &random.bytes(len));
        }
    }
}
