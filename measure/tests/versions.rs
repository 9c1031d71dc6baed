//! Files that are versions of others are found, and what differences save is estimated.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use at1w_container::{
    Dtype, Level, OpenOptions, PackBase, PackOptions, Progress, Staged, StagedTensor, Weights, pack,
};
use at1w_measure::{Choice, Options, Report, measure};

/// Words much like weights, of which some are moved a little for each step.
fn weights(seed: u64, step: u64, elements: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut moved = step | 1;
    let next = |state: &mut u64| {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    };
    let words = (0..elements).map(|_| {
        let random = next(&mut state);
        let exponent = 120 - (random >> 16).trailing_zeros().min(9) as u16;
        let word = (random as u16 & 0x807f) | exponent << 7;
        word ^ u16::from(step > 0 && next(&mut moved) % 8 == 0)
    });
    words.flat_map(u16::to_le_bytes).collect()
}

/// Writes a model of 40 layers; the first half of them are the same at each step.
fn model(path: &Path, seed: u64, step: u64) {
    let layers = (0..40).map(|layer: u64| {
        let step = if layer < 20 { 0 } else { step };
        (format!("layer.{layer}"), weights(seed + layer, step, 40_000))
    });
    let layers: Vec<_> = layers.collect();
    let tensor = |(name, data)| StagedTensor { name, dtype: Dtype::BF16, shape: &[200, 200], data };
    let tensors = layers.iter().map(|(name, data)| tensor((name.as_str(), data.as_slice())));
    let mut file = File::create(path).unwrap();
    Staged::new(tensors.collect(), None).unwrap().write(&mut file, &()).unwrap();
}

fn packed_len(path: &Path, base: Option<&Path>) -> u64 {
    let bases = base.map(|base| {
        let weights = Weights::open(base, &OpenOptions::new()).unwrap();
        PackBase::new(weights.into(), base)
    });
    let bases: Vec<_> = bases.into_iter().collect();
    let options = PackOptions::new().bases(&bases).level(Level::Default);
    pack(&File::open(path).unwrap(), &mut Vec::new(), &options).unwrap().packed_len
}

fn names(report: &Report) -> Vec<(&str, &str)> {
    let versions = report.versions.as_ref().unwrap().versions.iter();
    versions.map(|version| (last(&version.file), last(&version.base))).collect()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[test]
fn versions_are_found_and_what_they_save_is_near_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model(&at("a.safetensors"), 1, 0);
    model(&at("b.safetensors"), 1000, 0);
    model(&at("c.safetensors"), 1, 1);
    model(&at("d.safetensors"), 1, 2);
    let before: Vec<_> = files(folder.path());
    let path = folder.path().to_owned();
    let report = measure(std::slice::from_ref(&path), &Options::new()).unwrap();
    let versions = report.versions.as_ref().unwrap();
    let mut found = names(&report);
    found.sort_unstable();
    assert_eq!(found, [("c.safetensors", "a.safetensors"), ("d.safetensors", "a.safetensors")]);
    assert_eq!((versions.files, versions.tensors, versions.sampled_tensors), (2, 80, 32));
    // Half of the tensors are byte-identical, and are counted elsewhere.
    let families = report.families.as_ref().unwrap();
    assert_eq!(families.tensors, 40);
    let saved = |name: &str| {
        packed_len(&at(name), None) - packed_len(&at(name), Some(&at("a.safetensors")))
    };
    let all = saved("c.safetensors") + saved("d.safetensors");
    let truth = (all - families.saved_bytes) as f64;
    let ratio = versions.saved_bytes as f64 / truth;
    assert!((0.8..1.25).contains(&ratio), "{} {truth}", versions.saved_bytes);
    // A sample tells the same, as far as it has room for it.
    let sampled = |share: f64| {
        let share = |_| share;
        let options = Options::new().sample(Some(Choice::new(&share, 1)));
        measure(std::slice::from_ref(&path), &options).unwrap()
    };
    let sample = sampled(0.7);
    let found = sample.versions.unwrap();
    assert_eq!((found.saved_bytes, found.left_out), (versions.saved_bytes, 0));
    assert!(sample.families.is_none());
    assert_eq!(sampled(0.05).versions.unwrap().left_out, 3);
    // Nothing was touched.
    assert_eq!(files(folder.path()), before);
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// A listener that stops at once.
struct Stop;

impl Progress for Stop {
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_run_says_nothing_of_versions() {
    let folder = tempfile::tempdir().unwrap();
    model(&folder.path().join("a.safetensors"), 1, 0);
    let report = measure(&[folder.path().to_owned()], &Options::new().progress(&Stop)).unwrap();
    assert!(!report.complete && report.versions.is_none());
}
