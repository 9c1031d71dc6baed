//! Compares the output of the packer with kept files: a change of output must not go unnoticed.
//! When the packer learns to pack better, `AT1W_BLESS=1 cargo test -p at1w-tests --test golden`
//! writes the files anew.
//!
//! `version-1` has files of the day when version 1 of the format froze. They stay readable for
//! ever, and are never written anew. `fine-bytes` and `bases` have those of the days when these
//! features froze.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use at1w_container::Level;
use at1w_tests::versions::{Bases, NAMES, packed_versions, version};
use at1w_tests::{
    everything, open, packed_at, quantised_file, restored, safetensors, skewed, small, with_header,
};

/// The size of golden versions.
const GOLDEN_SIZE: usize = 3000;

fn check(name: &str, original: &[u8]) {
    check_at(Level::Default, name, original);
}

fn check_at(level: Level, name: &str, original: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("AT1W_BLESS").is_some() {
        std::fs::write(&path, packed_at(level, original).unwrap()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(restored(&golden).unwrap() == original, "{name} does not restore");
    assert!(
        packed_at(level, original).unwrap() == golden,
        "{name} is packed to other bytes than before"
    );
}

#[test]
fn files_of_version_1_are_still_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/version-1");
    let paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 6);
    for path in paths {
        // The packed file has the SHA-256 of its original; restoring checks it.
        let original = restored(&std::fs::read(&path).unwrap());
        assert!(original.is_ok(), "{}: {:?}", path.display(), original.err());
    }
}

#[test]
fn files_with_fine_bytes_are_still_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/fine-bytes");
    for name in ["quantised.at1w", "quantised-max.at1w"] {
        let packed = std::fs::read(folder.join(name)).unwrap();
        assert!(restored(&packed).unwrap() == quantised_file(), "{name}");
        assert_eq!(open(&packed).unwrap().info().required_features, 1, "{name}");
    }
}

#[test]
fn files_with_bases_are_still_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/bases");
    let files = NAMES.map(|name| std::fs::read(folder.join(name)).unwrap());
    let named: Vec<_> = NAMES.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
    for (step, file) in (0..).zip(&files) {
        let reader = open(file).unwrap().with_bases(Arc::new(Bases::new(&named[..step])));
        let mut original = Vec::new();
        reader.restore(&mut original, &()).unwrap();
        assert!(original == version(step as u64, GOLDEN_SIZE), "{}", NAMES[step]);
        assert_eq!(reader.info().required_features & 2 != 0, step > 0, "{}", NAMES[step]);
    }
}

#[test]
fn versions_are_packed_as_before() {
    let packed = packed_versions(GOLDEN_SIZE);
    for (name, packed) in NAMES.into_iter().zip(packed) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/versions").join(name);
        if std::env::var_os("AT1W_BLESS").is_some() {
            std::fs::write(&path, &packed).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == packed, "{name} is packed to other bytes");
    }
}

#[test]
fn quantised_weights_are_packed_as_before() {
    check("quantised.at1w", &quantised_file());
    check_at(Level::Max, "quantised-max.at1w", &quantised_file());
}

#[test]
fn everything_is_packed_as_before() {
    check("everything.at1w", &everything());
}

#[test]
fn a_small_file_is_packed_as_before() {
    check("small.at1w", &small());
}

#[test]
fn every_level_packs_as_before() {
    check_at(Level::Max, "max.at1w", &skewed());
    check_at(Level::Fast, "fast.at1w", &small());
}

#[test]
fn no_tensors_is_packed_as_before() {
    check("no-tensors.at1w", &safetensors(&[]));
    check("bare.at1w", &with_header("{}", &[]));
}

/// Runs tests above in a process for each back-end, which is chosen once per process.
#[test]
fn every_back_end_packs_the_same_bytes() {
    for backend in at1w_simd::Backend::available() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "everything_is_packed_as_before", "every_level_packs_as_before"])
            .args(["quantised_weights_are_packed_as_before", "versions_are_packed_as_before"])
            .env("AT1W_SIMD", backend.isa().name())
            .env_remove("AT1W_BLESS")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        // A name that matches no test would also succeed.
        assert!(report.contains("4 passed; 0 failed"), "{backend} packs to other bytes: {report}");
    }
}
