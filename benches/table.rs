//! Prints the tables of `docs/BENCHMARKS.md`, everything measured side by side in this run.
//!
//! `table` prints all of it. `table peer FILE` prints JSON for `benches/peers/peers.py`: the cost
//! of packing and reading that file at each level.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;

use at1w_benches::baselines::Baseline;
use at1w_benches::data::{CHUNK_LEN, Chunk, Weights};
use at1w_benches::{Machine, interleaved, lane_table, ratio};
use at1w_codec::{
    Backend, Decoder, DifferenceBuilder, Dtype, Encoder, Isa, Level, Model, default_backend,
};
use at1w_container::{Mapped, OpenOptions, PackOptions, Reader, pack, pack_file};
use at1w_simd::histogram;
use at1w_simd::lanes::{self, CodingTable, Input};
use at1w_simd::sha256::{self, Stream};
use at1w_tests::{Tensor, safetensors};
use rayon::{ThreadPool, ThreadPoolBuilder};
use sha2::{Digest, Sha256};

/// The rounds for work that takes well under a second.
const ROUNDS: usize = 9;

/// The plane mode of alias lanes.
const ALIAS: u8 = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => tables(),
        ["peer", file] => {
            let lines = [Level::Fast, Level::Default, Level::Max].map(|at| peer(file.as_ref(), at));
            println!("[{}]", lines.join(","));
        }
        _ => panic!("table or table peer FILE"),
    }
}

const BF16: Dtype = Dtype::BF16;

/// A figure that no class of machines is asked for.
const NOTHING: [&str; 4] = [""; 4];

/// A speed, and its ratio to the speed of a yardstick.
#[derive(Clone, Copy)]
struct Speed {
    gbps: f64,
    ratio: f64,
}

impl Speed {
    fn new(bytes: usize, seconds: f64, yardstick: f64) -> Self {
        Self { gbps: bytes as f64 / seconds / 1e9, ratio: yardstick / seconds }
    }
}

fn tables() {
    let whisper = Weights::corpus("whisper-tiny.bf16.safetensors", BF16);
    let machine = Machine::here();
    println!("{}, back-end {}\n", processor(), default_backend());
    println!("| what | GB/s | ratio | asked, {machine} |\n|---|---|---|---|");

    let [lane_decode, lane_encode] = lane_plane(&whisper);
    row("lane decode of the exponent plane", lane_decode, "memcpy", ["0.85", "", "", ""]);
    row("lane encode of the exponent plane", lane_encode, "memcpy", NOTHING);
    let [memcpy, decode, encode, with_model] = chunk(&whisper);
    row("memcpy of the bf16", memcpy, "memcpy", NOTHING);
    row("bf16 chunk decode", decode, "memcpy", ["0.85", "0.5", "0.5", ""]);
    for (isa, asked) in [(Isa::Avx2, "0.5"), (Isa::Scalar, "0.08")] {
        if let Some(speed) = forced(isa, &whisper) {
            row(&format!("bf16 chunk decode, {isa} forced"), speed, "memcpy", [asked; 4]);
        }
    }
    let asked = ["0.2 or 1.5 GB/s"; 4];
    let (what, speed) = ("bf16 chunk decode, its base in memory, one thread", on_base(&whisper));
    row(what, speed, "memcpy", asked);
    row("bf16 chunk encode, model given", encode, "memcpy", NOTHING);
    let asked = ["0.25", "0.2", "0.2", ""];
    row("bf16 chunk encode, model building included", with_model, "memcpy", asked);
    let high = alias_coded(Weights::corpus("whisper-tiny.safetensors", Dtype::F16).high_bytes());
    let [_, decode, encode, _] = chunk(&high);
    let what = "alias lane decode of a full-byte plane (high bytes of f16)";
    row(what, decode, "memcpy", ["0.4", "", "", ""]);
    row("alias lane encode of it", encode, "memcpy", NOTHING);
    let (yardstick, asked) = ("one `sha2` stream", ["1.85 (2.6)", "", "2.0", ""]);
    row("several SHA-256 streams, one core", sha_streams(), yardstick, asked);
    container_rows(&whisper.bytes());
    verify_row(&whisper.bytes());
    for (level, decode_asked, encode_asked) in [
        (Level::Default, ["0.55", "0.55", "0.55", ""], ["0.08", "0.125", "0.125", ""]),
        (Level::Max, ["0.1", "0.14", "0.14", ""], ["0.01", "", "", ""]),
    ] {
        for name in ["whisper-tiny.bf16.safetensors", "minilm-l6-v2.bf16.safetensors"] {
            let weights = Weights::corpus(name, BF16).at(level);
            let name = format!("level {level:?}, {}", weights.name);
            let [_, decode, _, with_model] = chunk(&weights);
            row(&format!("{name}: chunk decode"), decode, "memcpy", decode_asked);
            let what = format!("{name}: chunk encode, model building included");
            row(&what, with_model, "memcpy", encode_asked);
        }
    }
    // Each with what was asked for default and max, with AVX-512 and with AVX2.
    for (name, dtype, asked) in [
        ("whisper-tiny.safetensors", Dtype::F16, [["0.5", "0.4"], ["", ""]]),
        ("minilm-int8.safetensors", Dtype::I8, [["0.4", "0.25"], ["0.1", "0.06"]]),
        ("minilm-l6-v2.e4m3.safetensors", Dtype::F8E4M3, [["0.4", "0.25"], ["0.1", "0.06"]]),
    ] {
        for (level, asked) in [Level::Default, Level::Max].into_iter().zip(asked) {
            let weights = Weights::corpus(name, dtype).at(level);
            let [_, decode, _, with_model] = chunk(&weights);
            let name = format!("level {level:?}, {name} {dtype}");
            let [avx512, avx2] = asked;
            row(&format!("{name}: chunk decode"), decode, "memcpy", [avx512, avx2, avx2, ""]);
            if let Some(speed) = forced(Isa::Avx2, &weights) {
                row(&format!("{name}: chunk decode, avx2 forced"), speed, "memcpy", [avx2; 4]);
            }
            let what = format!("{name}: chunk encode, model building included");
            row(&what, with_model, "memcpy", NOTHING);
        }
    }
    for (name, weights) in [
        ("Gaussian bf16, scale by row", Weights::gaussian()),
        ("minilm bf16", Weights::corpus("minilm-l6-v2.bf16.safetensors", BF16)),
        ("whisper-tiny f16", Weights::corpus("whisper-tiny.safetensors", Dtype::F16)),
        ("minilm f32", Weights::corpus("minilm-l6-v2.safetensors", Dtype::F32)),
    ] {
        let [_, decode, _, with_model] = chunk(&weights);
        row(&format!("{name}: chunk decode"), decode, "memcpy", NOTHING);
        let what = format!("{name}: chunk encode, model building included");
        row(&what, with_model, "memcpy", NOTHING);
    }
    let weights = Weights::corpus("minilm-l6-v2.safetensors", Dtype::F32).at(Level::Default);
    let [_, decode, ..] = chunk(&weights);
    let what = "level Default, minilm f32: chunk decode";
    row(what, decode, "memcpy", ["", "0.5", "0.5", ""]);

    for (name, dtype) in [
        ("whisper-tiny.bf16.safetensors", BF16),
        ("minilm-l6-v2.bf16.safetensors", BF16),
        ("minilm-l6-v2.safetensors", Dtype::F32),
    ] {
        codecs(&Weights::corpus(name, dtype));
    }
}

/// Keeps the tensors of one plane that alias lanes code in every chunk.
fn alias_coded(weights: Weights) -> Weights {
    let chunks = weights.chunks(&weights.models());
    // A chunk of one plane names the mode of that plane in its second byte.
    let is_alias = |chunk: &Chunk| chunk.encoded[1] & 0xf == ALIAS;
    let kept: Vec<usize> = (0..weights.tensors.len())
        .filter(|&i| chunks.iter().filter(|chunk| chunk.tensor == i).all(is_alias))
        .collect();
    let tensors = kept.iter().map(|&i| weights.tensors[i].clone()).collect();
    let shapes = kept.iter().map(|&i| weights.shapes[i].clone()).collect();
    Weights { tensors, shapes, ..weights }
}

/// Prints a row of the table, with the value that is asked for on this class of machines.
fn row(what: &str, speed: Speed, yardstick: &str, asked: [&str; 4]) {
    let (asked, ratio) = (Machine::here().asked(asked), ratio(speed.ratio));
    println!("| {what} | {:.2} | {ratio} x {yardstick} | {asked} |", speed.gbps);
}

/// Measures decoding and encoding the exponents of all tensors as a plane, piece by piece. Each
/// tensor has its own table.
fn lane_plane(weights: &Weights) -> [Speed; 2] {
    const PIECE: usize = CHUNK_LEN / 2;
    let planes = weights.high_bytes().tensors;
    let tables: Vec<CodingTable> = planes.iter().map(|plane| table_of(plane)).collect();
    let pieces: Vec<(&CodingTable, &[u8])> = planes
        .iter()
        .zip(&tables)
        .flat_map(|(plane, table)| plane.chunks(PIECE).map(move |piece| (table, piece)))
        .collect();
    let mut scratch = vec![0; PIECE + 64];
    let coded: Vec<([u16; 256], Vec<u8>, Vec<u8>)> = pieces
        .iter()
        .map(|(table, piece)| {
            let mut states = [0; 256];
            let used = lanes::encode(default_backend(), table, piece, &mut states, &mut scratch);
            let stream = scratch[scratch.len() - used..].to_vec();
            let count = lanes::escaped(default_backend(), table, piece, &mut scratch);
            (states, stream, scratch[..count].to_vec())
        })
        .collect();

    let plane = planes.concat();
    let mut copy = vec![0; plane.len()];
    let mut out = vec![0; plane.len()];
    let [memcpy, decode, encode] = interleaved(
        ROUNDS,
        [
            &mut || black_box(&mut copy).copy_from_slice(&plane),
            &mut || {
                let mut rest = &mut out[..];
                for ((table, piece), (states, stream, escaped)) in pieces.iter().zip(&coded) {
                    // Sets the table up from the stored one, as a decoder does.
                    let table =
                        CodingTable::new(table.symbols(), table.freqs()).expect("as before");
                    let out = rest.split_off_mut(..piece.len()).expect("as long as the plane");
                    let mut input = Input { stream, escaped };
                    let decoded = lanes::decode(
                        default_backend(),
                        &table,
                        &mut states.clone(),
                        &mut input,
                        out,
                    );
                    decoded.expect("what was encoded");
                }
            },
            &mut || {
                for (table, piece) in &pieces {
                    black_box(lanes::encode(
                        default_backend(),
                        table,
                        piece,
                        &mut [0; 256],
                        &mut scratch,
                    ));
                }
            },
        ],
    );
    assert!(out == plane);
    [decode, encode].map(|seconds| Speed::new(plane.len(), seconds, memcpy))
}

fn table_of(plane: &[u8]) -> CodingTable {
    let mut counts = [0; 256];
    histogram::add(default_backend(), plane, &mut counts);
    lane_table(&counts)
}

/// Measures memcpy, decoding, and encoding with and without making the models.
fn chunk(weights: &Weights) -> [Speed; 4] {
    let models = weights.models();
    let chunks = weights.chunks(&models);
    let raw = weights.bytes();
    let mut copy = vec![0; raw.len()];
    let mut out = vec![0; raw.len()];
    let mut encoded = vec![0; Encoder::max_encoded_len(CHUNK_LEN)];
    let mut decoder = Decoder::new();
    let (mut encoder, mut again) = (Encoder::new(weights.level), Encoder::new(weights.level));
    let mut encode = |encoder: &mut Encoder, models: &[Model]| {
        for (raw, model) in weights.tensors.iter().zip(models) {
            for (chunk, position) in raw.chunks(CHUNK_LEN).zip(weights.positions()) {
                black_box(encoder.encode(model, position, chunk, &mut encoded).expect("room"));
            }
        }
    };
    let encode = std::cell::RefCell::new(&mut encode);
    let seconds = interleaved(
        ROUNDS,
        [
            &mut || black_box(&mut copy).copy_from_slice(&raw),
            &mut || decode_all(&mut decoder, &models, &chunks, &mut out),
            &mut || encode.borrow_mut()(&mut encoder, &models),
            &mut || encode.borrow_mut()(&mut again, &weights.models()),
        ],
    );
    assert!(out == raw);
    seconds.map(|s| Speed::new(raw.len(), s, seconds[0]))
}

fn decode_all(decoder: &mut Decoder, models: &[Model], chunks: &[Chunk], mut out: &mut [u8]) {
    for Chunk { tensor, position, raw_len, encoded } in chunks {
        let out = out.split_off_mut(..*raw_len).expect("as long as all");
        decoder.decode(&models[*tensor], *position, encoded, out).expect("what was encoded");
    }
}

/// Measures decoding weights that were trained further, their bases in memory.
fn on_base(bases: &Weights) -> Speed {
    let new = bases.trained();
    let (raw, base) = (new.bytes(), bases.bytes());
    let mut encoder = Encoder::new(new.level);
    let mut chunks = Vec::new();
    let models: Vec<Model> = (0..)
        .zip(new.tensors.iter().zip(&bases.tensors))
        .map(|(tensor, (raw, base))| {
            let mut builder = DifferenceBuilder::new(new.dtype);
            builder.add(base, raw).expect("whole elements");
            let (model, pairs) =
                (builder.build(), raw.chunks(CHUNK_LEN).zip(base.chunks(CHUNK_LEN)));
            for ((raw, base), position) in pairs.zip(new.positions()) {
                let mut encoded = Vec::new();
                let len = encoder.encode_from(&model, position, base, raw, &mut encoded);
                encoded.truncate(len.expect("chunks of one length"));
                chunks.push(Chunk { tensor, position, raw_len: raw.len(), encoded });
            }
            model
        })
        .collect();
    let (mut copy, mut out) = (vec![0; raw.len()], vec![0; raw.len()]);
    let mut decoder = Decoder::new();
    let [memcpy, decode] = interleaved(
        ROUNDS,
        [&mut || black_box(&mut copy).copy_from_slice(&raw), &mut || {
            let (mut out, mut base) = (&mut out[..], &base[..]);
            for Chunk { tensor, position, raw_len, encoded } in &chunks {
                let out = out.split_off_mut(..*raw_len).expect("as long as all");
                let base = base.split_off(..*raw_len).expect("as long as all");
                let decoded = decoder.decode_from(&models[*tensor], *position, base, encoded, out);
                decoded.expect("what was encoded");
            }
        }],
    );
    assert!(out == raw);
    Speed::new(raw.len(), decode, memcpy)
}

/// Measures decoding on a back-end; `None` if the machine lacks it.
fn forced(isa: Isa, weights: &Weights) -> Option<Speed> {
    let mut decoder = Decoder::new().with_backend(Backend::new(isa)?);
    let models = weights.models();
    let chunks = weights.chunks(&models);
    let raw = weights.bytes();
    let (mut copy, mut out) = (vec![0; raw.len()], vec![0; raw.len()]);
    let [memcpy, decode] = interleaved(
        ROUNDS,
        [&mut || black_box(&mut copy).copy_from_slice(&raw), &mut || {
            decode_all(&mut decoder, &models, &chunks, &mut out)
        }],
    );
    assert!(out == raw);
    Some(Speed::new(raw.len(), decode, memcpy))
}

/// Measures SHA-256 of as many streams as go side by side, a chunk each, beside one stream.
fn sha_streams() -> Speed {
    let messages = vec![vec![7; CHUNK_LEN]; 2 * sha256::width(default_backend())];
    let [one, several] = interleaved(
        ROUNDS,
        [
            &mut || {
                for message in &messages {
                    black_box(Sha256::digest(message));
                }
            },
            &mut || {
                let mut states = vec![sha256::INITIAL; messages.len()];
                let mut streams: Vec<_> = states
                    .iter_mut()
                    .zip(&messages)
                    .map(|(state, blocks)| Stream { state, blocks })
                    .collect();
                sha256::compress(default_backend(), &mut streams);
                black_box(states);
            },
        ],
    );
    Speed::new(messages.len() * CHUNK_LEN, several, one)
}

/// Prints verified reads and packing of one large bf16 tensor as a file, beside one `sha2` stream.
fn container_rows(raw: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, target) = (dir.path().join("a.safetensors"), dir.path().join("a.at1w"));
    write_tensor(&source, raw);
    let level = Level::Fast;
    let options = PackOptions::new().level(level);
    pack_file(&source, &target, &options).expect("a safetensors file");
    let default = dir.path().join("default.at1w");
    pack_file(&source, &default, &PackOptions::default()).expect("a safetensors file");
    let default = Reader::open(&default).expect("what was packed");
    let file = Reader::open(&target).expect("what was packed");
    // SAFETY: the file is only ever replaced by a new one, never written to.
    let mapped = unsafe { Mapped::open(&target) }.expect("what was packed");
    let mapped = Reader::new(Box::new(mapped), &OpenOptions::new()).expect("what was packed");
    let [one, two] = [1, 2].map(pool);
    let mut outs = [(); 4].map(|()| vec![0; raw.len()]);
    let [out_file, out_mapped, out_two, out_default] = &mut outs;
    let read = |reader: &Reader, out: &mut [u8]| {
        reader.tensor("w").and_then(|tensor| tensor.read(out)).expect("an intact file");
    };
    let pack_to_file = || {
        let options = options.overwrite(true);
        pack_file(&source, &target, &options).expect("a safetensors file");
    };
    let warm = File::open(&source).expect("just written");
    let options = PackOptions::new().level(level);
    let pack = || _ = pack(&warm, &mut std::io::sink(), &options).expect("a safetensors file");
    let [sha2, by_file, by_map, by_default, by_two, pack_one, pack_two, to_file] = interleaved(
        5,
        [
            &mut || _ = black_box(Sha256::digest(raw)),
            &mut || one.install(|| read(&file, out_file)),
            &mut || one.install(|| read(&mapped, out_mapped)),
            &mut || one.install(|| read(&default, out_default)),
            &mut || two.install(|| read(&file, out_two)),
            &mut || one.install(pack),
            &mut || two.install(pack),
            &mut || one.install(pack_to_file),
        ],
    );
    assert!(outs.iter().all(|out| out == raw));
    let speed = |seconds, yardstick| Speed::new(raw.len(), seconds, yardstick);
    let stream = "one `sha2` stream";
    let only_avx512 = |asked| [asked, "", "", ""];
    row("one `sha2` stream", speed(sha2, sha2), stream, NOTHING);
    let asked = only_avx512("1.45 (1.9)");
    row("verified read of a large bf16 tensor, file", speed(by_file, sha2), stream, asked);
    row("the same, file mapped", speed(by_map, sha2), stream, asked);
    row("the same at level default, file", speed(by_default, sha2), stream, only_avx512("1.2"));
    let what = "pack of a warm bf16 file, all digests included";
    row(what, speed(pack_one, sha2), stream, only_avx512("0.4"));
    row("the same into a file, fsync included", speed(to_file, sha2), stream, NOTHING);
    row("two threads: verified read, file", speed(by_two, by_file), "one thread", ["1.7"; 4]);
    row("two threads: pack", speed(pack_two, pack_one), "one thread", ["1.4"; 4]);
}

/// Prints the speed of verifying a file of many tensors of 4 to 64 KiB, beside one `sha2` stream.
fn verify_row(raw: &[u8]) {
    const TENSORS: usize = 10_000;
    let mut at = 0;
    let tensor = |i: usize| {
        let len = 4096 << (i % 5);
        at = if at + 2 * len > raw.len() { 0 } else { at + len };
        let mut data = raw[at..][..len].to_vec();
        // No two are equal, or they would be checked once.
        data[..4].copy_from_slice(&(i as u32).to_le_bytes());
        Tensor::new(&format!("experts.{i}.weight"), BF16, &[data.len() as u64 / 2], data)
    };
    let tensors: Vec<_> = (0..TENSORS).map(tensor).collect();
    let all = tensors.iter().map(|tensor| &*tensor.data).collect::<Vec<_>>().concat();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, target) = (dir.path().join("a.safetensors"), dir.path().join("a.at1w"));
    fs::write(&source, safetensors(&tensors)).expect("room for a file");
    pack_file(&source, &target, &PackOptions::new().level(Level::Fast)).expect("packs");
    let one = pool(1);
    let [sha2, verify] = interleaved(
        ROUNDS,
        [&mut || _ = black_box(Sha256::digest(&all)), &mut || {
            one.install(|| {
                let reader = Reader::open(&target).expect("what was packed");
                reader.verify(&()).expect("an intact file");
            });
        }],
    );
    let what = format!("open and verify a file of {TENSORS} tensors");
    let speed = Speed::new(all.len(), verify, sha2);
    row(&what, speed, "one `sha2` stream", ["", "0.85", "", ""]);
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

/// Writes a file with one bf16 tensor.
fn write_tensor(path: &Path, raw: &[u8]) {
    let tensor = Tensor::new("w", BF16, &shape_of(raw), raw.to_vec());
    fs::write(path, safetensors(&[tensor])).expect("room for a file");
}

/// Returns the shape of a matrix with rows of 512 elements, or of a vector.
fn shape_of(raw: &[u8]) -> Vec<u64> {
    let len = raw.len() as u64;
    if len.is_multiple_of(1024) { vec![len / 1024, 512] } else { vec![len / 2] }
}

/// Prints our codec and general ones, over the first tensors.
fn codecs(weights: &Weights) {
    /// The number of bytes that xz compresses in reasonable time.
    const LEN: usize = 8 << 20;
    let layout = weights.dtype.layout();
    let weights = weights.head(LEN);
    let raw = &weights.bytes()[..];
    println!("\n{}, the first 8 MiB:\n", weights.name);
    println!("| codec | size % | encode x memcpy | decode x memcpy |\n|---|---|---|---|");
    let (mut copy, mut out) = (vec![0; LEN], vec![0; LEN]);
    let line = |name: &str, len: usize, [memcpy, encode, decode]: [f64; 3]| {
        let size = 100.0 * len as f64 / LEN as f64;
        let [encode, decode] = [memcpy / encode, memcpy / decode].map(ratio);
        println!("| {name} | {size:.2} | {encode} | {decode} |");
    };

    for level in [Level::Fast, Level::Default, Level::Max] {
        let weights = weights.head(LEN).at(level);
        let ours = || {
            let models = weights.models();
            let chunks = weights.chunks(&models);
            (models, chunks)
        };
        let (models, chunks) = ours();
        let mut decoder = Decoder::new();
        let seconds = interleaved(
            ROUNDS,
            [
                &mut || black_box(&mut copy).copy_from_slice(raw),
                &mut || _ = black_box(ours()),
                &mut || decode_all(&mut decoder, &models, &chunks, &mut out),
            ],
        );
        assert!(out == raw);
        let models = models.iter().map(|model| model.to_bytes().len()).sum::<usize>();
        let len = models + chunks.iter().map(|chunk| chunk.encoded.len()).sum::<usize>();
        line(&format!("at1w, level {level:?}"), len, seconds);
    }

    for baseline in Baseline::all(layout) {
        let encoded = baseline.encode(raw);
        out.fill(0);
        let rounds = if matches!(baseline, Baseline::Xz(_)) { 1 } else { ROUNDS };
        let seconds = interleaved(
            rounds,
            [
                &mut || black_box(&mut copy).copy_from_slice(raw),
                &mut || _ = black_box(baseline.encode(raw)),
                &mut || baseline.decode(&encoded, &mut out),
            ],
        );
        assert!(out == raw);
        line(&baseline.name(), encoded.len(), seconds);
    }
}

/// Measures packing a file of the corpus and reading all of it, in seconds and bytes, with one
/// thread and everything in memory. The peers are compared with it.
fn peer(path: &Path, level: Level) -> String {
    let source = fs::read(path).expect("a file of the corpus");
    let packed = at1w_tests::packed_at(level, &source).expect("a safetensors file");
    assert!(at1w_tests::restored(&packed).expect("what was packed") == source);
    let reader = at1w_tests::open(&packed).expect("what was packed");
    let longest = reader.tensors().map(|tensor| tensor.raw_len() as usize).max();
    let (mut copy, mut read) = (vec![0; source.len()], vec![0; longest.unwrap_or(0)]);

    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let unverified = Weights::large(name, level).map(|weights| {
        let models = weights.models();
        let chunks = weights.chunks(&models);
        let mut out = vec![0; weights.tensors.iter().map(Vec::len).sum()];
        let mut decoder = Decoder::new();
        let [seconds] =
            interleaved(5, [&mut || decode_all(&mut decoder, &models, &chunks, &mut out)]);
        // The tensors are repeated: scales to all of the file once, as if it were large tensors.
        seconds * source.len() as f64 / out.len() as f64
    });
    let unverified = unverified.map_or("null".into(), |seconds| seconds.to_string());

    let one = pool(1);
    let [memcpy, encode, verified] = interleaved(
        5,
        [
            &mut || black_box(&mut copy).copy_from_slice(&source),
            &mut || {
                let mut packed = Vec::with_capacity(packed.len());
                let options = PackOptions::new().level(level);
                one.install(|| pack(&source, &mut packed, &options).expect("packs"));
            },
            &mut || {
                one.install(|| {
                    for tensor in reader.tensors() {
                        let read = &mut read[..tensor.raw_len() as usize];
                        tensor.read(read).expect("an intact file");
                    }
                });
            },
        ],
    );
    format!(
        "{{\"len\": {}, \"memcpy\": {memcpy}, \"encode\": {encode}, \"verified\": {verified}, \
         \"unverified\": {unverified}, \"processor\": {:?}}}",
        packed.len(),
        processor()
    )
}

/// Returns the name that the machine gives its processor.
fn processor() -> String {
    let text = File::open("/proc/cpuinfo").and_then(std::io::read_to_string).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}
