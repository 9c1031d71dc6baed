//! Prints the table of levels of `docs/BENCHMARKS.md`: the packed size of every file of the corpus
//! at each level, beside zstd -19, xz -9e and the order-0 bound, and the speeds. `levels speeds`
//! prints the speeds alone, `levels speeds NAME` the speeds of files whose names begin with NAME.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

use at1w_benches::data::{Chunk, Weights};
use at1w_benches::{baselines::Baseline, interleaved};
use at1w_codec::{Decoder, Encoder, Level, default_backend};
use at1w_container::{PackOptions, pack};
use at1w_tests::restored;
use rayon::prelude::*;

const LEVELS: [Level; 3] = [Level::Fast, Level::Default, Level::Max];

/// The rounds in which speeds are measured.
const ROUNDS: usize = 5;

fn main() {
    let corpus: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../corpus"].iter().collect();
    let mut files: Vec<PathBuf> = fs::read_dir(corpus)
        .expect("the corpus: run scripts/corpus.sh first")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();

    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("speeds") => {
            let start = arguments.next().unwrap_or_default();
            let name = |path: &PathBuf| path.file_name().expect("a name").to_owned();
            files.retain(|path| name(path).to_string_lossy().starts_with(&start));
        }
        _ => sizes(&files),
    }
    speeds_of(&files);
}

fn sizes(files: &[PathBuf]) {
    println!("| file | order 0 | fast | default | max | zstd -19 | xz -9e |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for path in files {
        let original = fs::read(path).expect("a readable file");
        let percent = |len: usize| format!("{:.2}", 100.0 * len as f64 / original.len() as f64);
        let ours = LEVELS.map(|level| {
            let mut packed = Vec::new();
            pack(&original, &mut packed, &PackOptions::new().level(level))
                .expect("a safetensors file");
            assert!(restored(&packed).expect("what was packed") == original);
            percent(packed.len())
        });
        // These take minutes where ours takes a second.
        let theirs: Vec<String> = [Baseline::Zstd(19), Baseline::XzExtreme]
            .par_iter()
            .map(|baseline| percent(baseline.encode(&original).len()))
            .collect();
        let name = path.file_stem().expect("a name").display();
        let (ours, theirs) = (ours.join(" | "), theirs.join(" | "));
        println!("| {name} | {} | {ours} | {theirs} |", percent(order_0(&original)));
    }
}

fn speeds_of(files: &[PathBuf]) {
    println!("\nOne thread, the large tensors again and again until there are 64 MiB:\n");
    println!("| weights | level | encode x memcpy | decode x memcpy |\n|---|---|---:|---:|");
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy();
        for level in LEVELS {
            if let Some(weights) = Weights::large(&name, level) {
                let [encode, decode] = speeds(&weights);
                let name = format!("{} {}", weights.name, weights.dtype.name());
                println!("| {name} | {level:?} | {encode:.3} | {decode:.3} |");
            }
        }
    }
}

/// Returns the bytes that an ideal coder takes with one table for each byte plane of each tensor.
/// The words of floats are rotated by one bit. The tables themselves cost nothing.
fn order_0(original: &[u8]) -> usize {
    let (header, file) = safetensors::SafeTensors::read_metadata(original).expect("safetensors");
    let data = &original[8 + header..];
    let bits: f64 = file
        .tensors()
        .values()
        .map(|info| {
            let raw = &data[info.data_offsets.0..info.data_offsets.1];
            let dtype = at1w_codec::Dtype::from_name(&format!("{:?}", info.dtype));
            let layout = dtype.map_or(at1w_codec::Layout::BYTES, at1w_codec::Dtype::layout);
            let mut planes = vec![0; raw.len()];
            at1w_simd::planes::split(default_backend(), layout, raw, &mut planes);
            let planes = planes.chunks((raw.len() / layout.width()).max(1));
            planes.map(entropy).sum::<f64>()
        })
        .sum();
    8 + header + (bits / 8.0) as usize
}

fn entropy(plane: &[u8]) -> f64 {
    let mut counts = [0; 256];
    at1w_simd::histogram::add(default_backend(), plane, &mut counts);
    let n = plane.len() as f64;
    let used = counts.iter().filter(|&&count| count > 0);
    used.map(|&count| f64::from(count) * (n / f64::from(count)).log2()).sum()
}

/// Measures encoding, the model included, and decoding, as ratios to memcpy.
fn speeds(weights: &Weights) -> [f64; 2] {
    let models = weights.models();
    let chunks = weights.chunks(&models);
    let raw = weights.bytes();
    let (mut copy, mut out) = (vec![0; raw.len()], vec![0; raw.len()]);
    let mut buffer =
        vec![0; Encoder::max_encoded_len(raw.len().min(at1w_benches::data::CHUNK_LEN))];
    let (mut encoder, mut decoder) = (Encoder::new(weights.level), Decoder::new());
    let [memcpy, encode, decode] = interleaved(
        ROUNDS,
        [
            &mut || black_box(&mut copy).copy_from_slice(&raw),
            &mut || {
                for (tensor, model) in weights.tensors.iter().zip(&weights.models()) {
                    let pieces = tensor.chunks(at1w_benches::data::CHUNK_LEN);
                    for (chunk, position) in pieces.zip(weights.positions()) {
                        let len = encoder.encode(model, position, chunk, &mut buffer);
                        black_box(len.expect("room"));
                    }
                }
            },
            &mut || {
                let mut rest = &mut out[..];
                for Chunk { tensor, position, raw_len, encoded } in &chunks {
                    let out = rest.split_off_mut(..*raw_len).expect("as long as all");
                    let decoded = decoder.decode(&models[*tensor], *position, encoded, out);
                    decoded.expect("what was encoded");
                }
            },
        ],
    );
    assert!(out == raw);
    [memcpy / encode, memcpy / decode]
}
