//! Prints how large proofs are, and how long they take to make and to check.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use at1w_container::{OpenOptions, PackOptions, Proof, Reader, Slice, pack_file};

/// The number of times that each is done; the slowest of all is printed.
const TIMES: usize = 50;

fn slowest<T>(mut work: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed()
    };
    (0..TIMES).map(time).max().unwrap_or_default()
}

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let folder = tempfile::tempdir().expect("a folder");
    println!("| file | slice of its largest tensor | proof, bytes | of the file | make | check |");
    println!("|---|---|---:|---:|---:|---:|");
    for name in ["minilm-l6-v2.bf16", "whisper-tiny.bf16", "minilm-int8"] {
        let source = corpus.join(format!("{name}.safetensors"));
        if !source.exists() {
            continue;
        }
        let packed = folder.path().join(format!("{name}.at1w"));
        let summary = pack_file(&source, &packed, &PackOptions::new()).expect("it packs");
        let reader = Reader::open(&packed).expect("it is whole");
        let largest = reader.tensors().max_by_key(|tensor| tensor.raw_len()).expect("one");
        for (what, text) in [("one row", "7"), ("1,000 rows", "0:1000"), ("all", "")] {
            let slice: Slice = text.parse().expect("a slice");
            let Ok(proof) = reader.prove(largest.name(), &slice) else { continue };
            let make = slowest(|| reader.prove(largest.name(), &slice));
            let check = slowest(|| {
                let options = OpenOptions::new().root(reader.root());
                Proof::new(proof.clone(), &options).and_then(|proof| proof.read())
            });
            println!(
                "| {name} | {what} | {} | {:.2} % | {:.1} ms | {:.1} ms |",
                proof.len(),
                proof.len() as f64 / summary.packed_len as f64 * 100.0,
                make.as_secs_f64() * 1e3,
                check.as_secs_f64() * 1e3,
            );
        }
    }
}
