//! Prints the table of stores of `docs/BENCHMARKS.md`: pushing to a store in a directory beside
//! packing to a file, pulling from it beside unpacking, and scrubbing it beside verifying files.
//! All of them sync to disk what they write: a scrub its record.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use at1w_benches::interleaved;
use at1w_container::{PackOptions, Reader, UnpackOptions, pack_file, unpack_file};
use at1w_registry::{PullOptions, PushOptions, ScrubOptions, Store};

const FILES: [&str; 2] = ["minilm-l6-v2.bf16.safetensors", "whisper-tiny.bf16.safetensors"];

/// The files that are scrubbed together.
const SCRUBBED: [&str; 4] = [
    "minilm-l6-v2.bf16.safetensors",
    "minilm-l6-v2.safetensors",
    "whisper-tiny.bf16.safetensors",
    "whisper-tiny.safetensors",
];

const ROUNDS: usize = 15;

/// Measures in the folder that is named, or in the build folder, which lies on a disk.
fn main() {
    let parent = env::args_os().nth(1).map_or_else(|| "target".into(), PathBuf::from);
    println!("\n| what | MB/s | ratio | asked |\n|---|---|---|---|");
    for name in FILES {
        let folder = tempfile::tempdir_in(&parent).expect("a temporary directory");
        measure(folder.path(), name);
    }
    let folder = tempfile::tempdir_in(&parent).expect("a temporary directory");
    measure_scrub(folder.path());
}

fn corpus(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../corpus", name].iter().collect()
}

fn row(what: &str, (len, seconds): (u64, f64), (base, of): (f64, &str), asked: &str) {
    let (speed, ratio) = (len as f64 / seconds / 1e6, base / seconds);
    println!("| {what} | {speed:.0} | {ratio:.2} x {of} | {asked} |");
}

fn measure(folder: &Path, name: &str) {
    let source = corpus(name);
    let len = fs::metadata(&source).expect("run scripts/corpus.sh first").len();
    let store = folder.join("store").to_string_lossy().into_owned();
    let open = || Store::open(&store).expect("a store in a directory");
    open().init().expect("an empty place");
    let (packed, original) = (folder.join("a.at1w"), folder.join("a.safetensors"));
    // All of them write new files: to replace one takes longer.
    let pack = || {
        let _ = fs::remove_file(&packed);
        pack_file(&source, &packed, &PackOptions::new()).expect("a safetensors file");
    };
    // Every round has a namespace of its own, in which nothing is stored yet.
    let mut round = 0;
    let push = || {
        round += 1;
        let repo = format!("round{round}/model").parse().expect("a name");
        open().push(&source, &repo, &PushOptions::new()).expect("a safetensors file");
    };
    let unpack = || {
        let _ = fs::remove_file(&original);
        unpack_file(&packed, &original, &UnpackOptions::new()).expect("what was packed");
    };
    let pulled = folder.join("pulled");
    let pull = || {
        let _ = fs::remove_file(pulled.join(name));
        let revision = "round1/model".parse().expect("a name");
        open().pull(&revision, &pulled, &PullOptions::new()).expect("what was pushed");
    };
    let [pack, push, unpack, pull] =
        interleaved(ROUNDS, [&mut { pack }, &mut { push }, &mut { unpack }, &mut { pull }]);
    let row = |what: &str, seconds: f64, base: (f64, &str), asked: &str| {
        row(&format!("{name}: {what}"), (len, seconds), base, asked);
    };
    row("pack", pack, (pack, "pack"), "");
    row("push", push, (pack, "pack"), "0.9");
    row("unpack", unpack, (unpack, "unpack"), "");
    row("pull", pull, (unpack, "unpack"), "0.9");
}

/// Scrubs a namespace with several files, and verifies the same files.
fn measure_scrub(folder: &Path) {
    let store = folder.join("store").to_string_lossy().into_owned();
    let open = || Store::open(&store).expect("a store in a directory");
    open().init().expect("an empty place");
    let (mut packed, mut len) = (Vec::new(), 0);
    for name in SCRUBBED {
        let (source, target) = (corpus(name), folder.join(name).with_extension("at1w"));
        len += fs::metadata(&source).expect("run scripts/corpus.sh first").len();
        pack_file(&source, &target, &PackOptions::new()).expect("a safetensors file");
        let repo = format!("lab/{}", name.replace(".safetensors", "")).parse().expect("a name");
        open().push(&source, &repo, &PushOptions::new()).expect("a safetensors file");
        packed.push(target);
    }
    let verify = || {
        for file in &packed {
            let reader = Reader::open(file).expect("what was packed");
            reader.verify(&()).expect("good bytes");
        }
    };
    let scrub = || {
        let scrubbed = open().scrub(&ScrubOptions::new()).expect("what was pushed");
        assert!(scrubbed.damaged.is_empty());
    };
    let [verify, scrub] = interleaved(ROUNDS, [&mut { verify }, &mut { scrub }]);
    row("four files: verify", (len, verify), (verify, "verify"), "");
    row("four files: scrub", (len, scrub), (verify, "verify"), "0.8");
}
