//! Prints the table of stores of `docs/BENCHMARKS.md`: pushing to a store in a directory beside
//! packing to a file, pulling from it beside unpacking, and scrubbing it beside verifying the file.
//! All of them sync to disk what they write.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use at1w_benches::interleaved;
use at1w_container::{PackOptions, Reader, UnpackOptions, pack_file, unpack_file};
use at1w_registry::{PullOptions, PushOptions, ScrubOptions, Store};

const FILES: [&str; 2] = ["minilm-l6-v2.bf16.safetensors", "whisper-tiny.bf16.safetensors"];

const ROUNDS: usize = 15;

/// Measures in the folder that is named, or in the build folder, which lies on a disk.
fn main() {
    let parent = env::args_os().nth(1).map_or_else(|| "target".into(), PathBuf::from);
    println!("\n| what | MB/s | ratio | asked |\n|---|---|---|---|");
    for name in FILES {
        let folder = tempfile::tempdir_in(&parent).expect("a temporary directory");
        measure(folder.path(), name);
    }
}

fn measure(folder: &Path, name: &str) {
    let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../corpus", name].iter().collect();
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
    let verify = || {
        let reader = Reader::open(&packed).expect("what was packed");
        reader.verify(&()).expect("good bytes");
    };
    let scrub = || {
        let scrubbed = open().scrub(&ScrubOptions::new().namespace("round1"));
        assert!(scrubbed.expect("what was pushed").damaged.is_empty());
    };
    let [pack, push, unpack, pull, verify, scrub] = interleaved(
        ROUNDS,
        [&mut { pack }, &mut { push }, &mut { unpack }, &mut { pull }, &mut { verify }, &mut {
            scrub
        }],
    );
    let row = |what: &str, seconds: f64, (base, of): (f64, &str), asked: &str| {
        let (speed, ratio) = (len as f64 / seconds / 1e6, base / seconds);
        println!("| {name}: {what} | {speed:.0} | {ratio:.2} x {of} | {asked} |");
    };
    row("pack", pack, (pack, "pack"), "");
    row("push", push, (pack, "pack"), "0.9");
    row("unpack", unpack, (unpack, "unpack"), "");
    row("pull", pull, (unpack, "unpack"), "0.9");
    row("verify", verify, (verify, "verify"), "");
    row("scrub", scrub, (verify, "verify"), "0.8");
}
