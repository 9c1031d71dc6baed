//! What goes wrong while files are measured is in the report, and the rest is measured.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use at1w_container::{Dtype, Progress, Staged, StagedTensor};
use at1w_measure::{Choice, Options, Report, measure};
use tempfile::TempDir;

fn write(path: &Path, byte: u8) {
    let data: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8 ^ byte).collect();
    let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[1 << 20], data: &data };
    let mut file = File::create(path).unwrap();
    Staged::new(vec![tensor], None).unwrap().write(&mut file, &()).unwrap();
}

/// A folder with two files of weights.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.safetensors"), 1);
    write(&folder.path().join("b.safetensors"), 2);
    let path = folder.path().to_owned();
    (folder, path)
}

fn messages(report: &Report) -> Vec<&str> {
    report.faults.iter().map(|fault| fault.message.as_str()).collect()
}

/// A listener that makes a file longer once some of it was read.
struct Meddler {
    path: PathBuf,
    done: AtomicBool,
}

impl Progress for Meddler {
    fn advance(&self, _: u64) {
        if !self.done.swap(true, Ordering::Relaxed) {
            File::options().append(true).open(&self.path).unwrap().write_all(b"more").unwrap();
        }
    }
}

#[test]
fn a_source_that_changes_is_named() {
    let (_guard, path) = folder();
    let meddler = Meddler { path: path.join("a.safetensors"), done: AtomicBool::new(false) };
    let report = measure(&[path], &Options::new().progress(&meddler)).unwrap();
    assert!(report.complete && report.total.files == 1, "{report:?}");
    let messages = messages(&report);
    assert!(messages.len() == 1 && messages[0].contains("measure it again"), "{messages:?}");
    assert!(!report.faults[0].damaged);
}

#[test]
fn a_scratch_folder_that_takes_nothing_is_named() {
    let (_guard, path) = folder();
    let gone = path.join("gone");
    let report = measure(&[path], &Options::new().scratch(gone)).unwrap();
    assert_eq!(report.total.files, 0);
    assert_eq!(report.faults.len(), 2);
    assert!(messages(&report)[0].contains("the scratch folder"), "{:?}", report.faults);
}

#[test]
fn a_sample_goes_on_without_a_file_that_is_gone() {
    let (_guard, path) = folder();
    let gone = path.join("a.safetensors");
    // Removed after it was listed, and before its header is read again.
    let share = |_| {
        fs::remove_file(&gone).unwrap();
        1.0
    };
    let paths = [path.clone()];
    let report = measure(&paths, &Options::new().sample(Some(Choice::new(&share, 0)))).unwrap();
    assert_eq!((report.total.files, report.faults.len()), (1, 1), "{:?}", report.faults);
    assert!(report.complete);
}

#[test]
fn whoever_asks_to_stop_gets_what_was_measured() {
    struct Stop(AtomicBool);
    impl Progress for Stop {
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
        fn advance(&self, _: u64) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (_guard, path) = folder();
    let stop = Stop(AtomicBool::new(false));
    let paths = [path];
    let report = measure(&paths, &Options::new().progress(&stop)).unwrap();
    assert!(!report.complete && report.faults.is_empty());
    let share = |_| 1.0;
    let stop = Stop(AtomicBool::new(false));
    let options = Options::new().progress(&stop).sample(Some(Choice::new(&share, 0)));
    let report = measure(&paths, &options).unwrap();
    assert!(!report.complete && report.faults.is_empty());
}
