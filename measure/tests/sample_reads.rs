//! A sample reads no more than was asked for, and headers. Alone in its process, whose reads are
//! counted.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;

use at1w_container::{Dtype, Staged, StagedTensor};
use at1w_measure::{Choice, Options, measure};

/// The number of bytes that this process has read.
fn read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

/// Writes a model of 4 tensors of 2 MiB, which is like others of its kind.
fn model(path: &Path, seed: u32) {
    let data: Vec<u8> = (0..2 << 20).map(|i: u32| (i ^ seed).wrapping_mul(i) as u8).collect();
    let tensor =
        |name| StagedTensor { name, dtype: Dtype::BF16, shape: &[1024, 1024], data: &data };
    let tensors = ["a", "b", "c", "d"].map(tensor).to_vec();
    let mut file = File::create(path).unwrap();
    Staged::new(tensors, None).unwrap().write(&mut file, &()).unwrap();
}

#[test]
fn a_sample_reads_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..4 {
        model(&folder.path().join(format!("{seed}.safetensors")), seed);
    }
    let whole = 4 * 4 * (2 << 20) as u64;
    // Headers are read several times, and the system says what machine it is.
    let beside = 64 << 10;
    for share in [0.25, 0.5] {
        let share_of = |_| share;
        let before = read();
        let options = Options::new().sample(Some(Choice::new(&share_of, 0)));
        let report = measure(&[folder.path().to_owned()], &options).unwrap();
        let read = read() - before;
        assert_eq!(report.total.files, 4);
        assert_eq!(report.versions.unwrap().left_out, 0);
        assert!(read <= (whole as f64 * share) as u64 + beside, "{read} of {whole}");
    }
}
