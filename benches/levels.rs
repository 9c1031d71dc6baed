//! Prints the table of levels of `docs/BENCHMARKS.md`: the packed size of every file of the corpus
//! at each level, beside zstd -19, xz -9e and the order-0 bound; the size of 8-bit tensors alone;
//! and the speeds. `levels bytes` prints the second alone, `levels speeds` the third, and a NAME
//! after either those of files whose names begin with it.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

use at1w_benches::data::{CHUNK_LEN, Chunk, Weights};
use at1w_benches::{baselines::Baseline, interleaved};
use at1w_codec::{
    Backend, Decoder, Dtype, Encoder, Isa, Layout, Level, Model, Position, default_backend,
};
use at1w_container::{PackOptions, pack};
use at1w_tests::restored;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

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
    let part = arguments.next();
    let start = arguments.next().unwrap_or_default();
    let name = |path: &PathBuf| path.file_name().expect("a name").to_owned();
    files.retain(|path| name(path).to_string_lossy().starts_with(&start));
    match part.as_deref() {
        None => {
            sizes(&files);
            sizes_of_bytes(&files);
            speeds_of(&files);
        }
        Some("bytes") => sizes_of_bytes(&files),
        Some("speeds") => speeds_of(&files),
        Some(_) => panic!("levels, levels bytes [NAME] or levels speeds [NAME]"),
    }
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

fn sizes_of_bytes(files: &[PathBuf]) {
    println!("\nAll 8-bit tensors of a file, their models and chunks without the index:\n");
    println!("| file | order 0 | fast | default | max |\n|---|---:|---:|---:|---:|");
    for path in files {
        let original = fs::read(path).expect("a readable file");
        let file = SafeTensors::deserialize(&original).expect("a safetensors file");
        let tensors: Vec<_> = file
            .tensors()
            .into_iter()
            .filter_map(|(_, tensor)| Some((dtype_of(&tensor)?, tensor)))
            .filter(|(dtype, _)| dtype.layout() == Layout::BYTES && *dtype != Dtype::Bool)
            .collect();
        let len: usize = tensors.iter().map(|(_, tensor)| tensor.data().len()).sum();
        // A counter of some bytes says nothing.
        if len < 4096 {
            continue;
        }
        let percent = |len: f64, of: usize| format!("{:.2}", 100.0 * len / of as f64);
        let ours = LEVELS.map(|level| {
            let packed = tensors.iter().map(|(dtype, tensor)| packed_len(*dtype, level, tensor));
            percent(packed.sum::<usize>() as f64, len)
        });
        let bound = tensors.iter().map(|(_, tensor)| entropy(tensor.data()) / 8.0).sum();
        let name = path.file_stem().expect("a name").display();
        println!("| {name} | {} | {} |", percent(bound, len), ours.join(" | "));
    }
}

/// Returns the bytes of the model and of the chunks of a tensor.
fn packed_len(dtype: Dtype, level: Level, tensor: &TensorView<'_>) -> usize {
    let shape: Vec<u64> = tensor.shape().iter().map(|&dim| dim as u64).collect();
    let chunks = tensor.data().chunks(CHUNK_LEN);
    let mut encoder = Encoder::new(level);
    let model = encoder.model(dtype, &shape, chunks.clone()).expect("whole elements");
    let mut encoded = Vec::new();
    for (number, chunk) in (0..).zip(chunks) {
        let position = Position::of_chunk(number, CHUNK_LEN, dtype.layout());
        encoder.encode_into(&model, position, chunk, &mut encoded).expect("whole elements");
    }
    model.to_bytes().len() + encoded.len()
}

fn dtype_of(tensor: &TensorView<'_>) -> Option<Dtype> {
    Dtype::from_name(&format!("{:?}", tensor.dtype()))
}

fn speeds_of(files: &[PathBuf]) {
    println!("\nOne thread, the large tensors again and again until there are 64 MiB:\n");
    println!("| weights | level | encode x memcpy | decode x memcpy | decode with avx2 |");
    println!("|---|---|---:|---:|---:|");
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy();
        for level in LEVELS {
            if let Some(weights) = Weights::large(&name, level) {
                let [encode, decode, with_avx2] = speeds(&weights);
                let name = format!("{} {}", weights.name, weights.dtype.name());
                println!("| {name} | {level:?} | {encode:.3} | {decode:.3} | {with_avx2:.3} |");
            }
        }
    }
}

/// Returns the bytes that an ideal coder takes with one table for each byte plane of each tensor.
/// The words of floats are rotated by one bit. The tables themselves cost nothing.
fn order_0(original: &[u8]) -> usize {
    let (header, file) = SafeTensors::read_metadata(original).expect("safetensors");
    let data = &original[8 + header..];
    let bits: f64 = file
        .tensors()
        .values()
        .map(|info| {
            let raw = &data[info.data_offsets.0..info.data_offsets.1];
            let dtype = Dtype::from_name(&format!("{:?}", info.dtype));
            let layout = dtype.map_or(Layout::BYTES, Dtype::layout);
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

/// Measures encoding, the model included, decoding, and decoding with AVX2 (0 without it), as
/// ratios to memcpy.
fn speeds(weights: &Weights) -> [f64; 3] {
    let models = weights.models();
    let chunks = weights.chunks(&models);
    let raw = weights.bytes();
    let (mut copy, mut out) = (vec![0; raw.len()], vec![0; raw.len()]);
    let mut with_avx2 = vec![0; raw.len()];
    let mut buffer = vec![0; Encoder::max_encoded_len(raw.len().min(CHUNK_LEN))];
    let mut encoder = Encoder::new(weights.level);
    let avx2 = Backend::new(Isa::Avx2);
    let [memcpy, encode, decode, decode_avx2] = interleaved(
        ROUNDS,
        [
            &mut || black_box(&mut copy).copy_from_slice(&raw),
            &mut || {
                for (tensor, model) in weights.tensors.iter().zip(&weights.models()) {
                    for (chunk, position) in tensor.chunks(CHUNK_LEN).zip(weights.positions()) {
                        let len = encoder.encode(model, position, chunk, &mut buffer);
                        black_box(len.expect("room"));
                    }
                }
            },
            &mut || decode_all(default_backend(), &models, &chunks, &mut out),
            &mut || {
                if let Some(avx2) = avx2 {
                    decode_all(avx2, &models, &chunks, &mut with_avx2);
                }
            },
        ],
    );
    assert!(out == raw);
    assert!(avx2.is_none() || with_avx2 == raw);
    let of_avx2 = if avx2.is_some() { memcpy / decode_avx2 } else { 0.0 };
    [memcpy / encode, memcpy / decode, of_avx2]
}

fn decode_all(backend: Backend, models: &[Model], chunks: &[Chunk], mut out: &mut [u8]) {
    let mut decoder = Decoder::new().with_backend(backend);
    for Chunk { tensor, position, raw_len, encoded } in chunks {
        let out = out.split_off_mut(..*raw_len).expect("as long as all");
        decoder.decode(&models[*tensor], *position, encoded, out).expect("what was encoded");
    }
}
