//! Prints the tables of tiny and of small tensors of `docs/BENCHMARKS.md`: the processor time of
//! one thread that packs and loads a file of 100,000 tiny tensors, beside loading them with
//! safetensors; and that of verifying a file of 10,000 small ones, beside hashing as many bytes. A
//! file of large tensors hides the cost of a tensor beside its bytes.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::{Path, PathBuf};

use at1w_benches::{Machine, median, ratio};
use at1w_codec::{Dtype, default_backend};
use at1w_container::{Level, PackOptions, Reader, pack};
use at1w_tests::{Random, Tensor, safetensors, weights};
use rayon::ThreadPoolBuilder;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

const TENSORS: usize = 100_000;

const SMALL_TENSORS: usize = 10_000;

const ROUNDS: usize = 3;

fn main() {
    println!("{}, back-end {}", Machine::here(), default_backend());
    let dir = tempfile::tempdir().expect("a temporary directory");
    tiny(&packed(&dir.path().join("tiny"), &tiny_tensors(), Level::Default));
    small(&packed(&dir.path().join("small"), &small_tensors(), Level::Fast));
}

/// A file of tensors, and the packed one.
struct Files {
    plain: PathBuf,
    packed: PathBuf,
}

fn packed(stem: &Path, tensors: &[Tensor], level: Level) -> Files {
    let files =
        Files { plain: stem.with_extension("safetensors"), packed: stem.with_extension("at1w") };
    fs::write(&files.plain, safetensors(tensors)).expect("room for a file");
    let source = File::open(&files.plain).expect("just written");
    let mut target = File::create(&files.packed).expect("room for a file");
    let options = PackOptions::new().level(level);
    pack(&source, &mut target, &options).expect("a safetensors file");
    files
}

fn tiny(Files { plain, packed }: &Files) {
    let source = File::open(plain).expect("just written");
    let at = |level| {
        pack(&source, &mut std::io::sink(), &PackOptions::new().level(level))
            .expect("a safetensors file");
    };
    let load = || {
        let reader = Reader::open(packed).expect("what was packed");
        for tensor in reader.tensors() {
            black_box(tensor.read_to_vec().expect("an intact file"));
        }
    };
    let load_plain = || {
        let bytes = fs::read(plain).expect("just written");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        for (_, tensor) in file.iter() {
            black_box(tensor.data().to_vec());
        }
    };
    let works: [(&str, &(dyn Fn() + Sync)); 5] = [
        ("load with safetensors", &load_plain),
        ("load, every SHA-256 proven", &load),
        ("pack at level fast", &|| at(Level::Fast)),
        ("pack at level default", &|| at(Level::Default)),
        ("pack at level max", &|| at(Level::Max)),
    ];
    let seconds = in_turns(works);

    println!("\n{TENSORS} tensors of 64 to 128 bf16 or one f32, processor time of one thread:\n");
    println!("| what | µs a tensor | ratio |\n|---|---|---|");
    for ((what, _), each) in works.iter().zip(seconds) {
        let (micros, ratio) = (each / TENSORS as f64 * 1e6, ratio(each / seconds[0]));
        println!("| {what} | {micros:.2} | {ratio} x safetensors |");
    }
}

fn small(Files { plain, packed }: &Files) {
    let bytes = fs::read(plain).expect("just written");
    let hash = || {
        black_box(Sha256::digest(&bytes));
    };
    let verify = || {
        let reader = Reader::open(packed).expect("what was packed");
        reader.verify(&()).expect("an intact file");
    };
    let works: [(&str, &(dyn Fn() + Sync), &str); 2] = [
        ("one `sha2` stream", &hash, ""),
        ("open and verify", &verify, Machine::here().asked(["", "0.85", "", ""])),
    ];
    let seconds = in_turns(works.map(|(what, work, _)| (what, work)));

    println!(
        "\n{SMALL_TENSORS} tensors of 512 to 32768 bf16 at level fast, processor time of one \
         thread:\n"
    );
    println!("| what | GB/s | ratio | asked |\n|---|---|---|---|");
    for ((what, _, asked), each) in works.iter().zip(seconds) {
        let (speed, ratio) = (bytes.len() as f64 / each / 1e9, ratio(seconds[0] / each));
        println!("| {what} | {speed:.2} | {ratio} x one `sha2` stream | {asked} |");
    }
}

/// Measures the median processor seconds of each work over some rounds, on one thread.
fn in_turns<const N: usize>(works: [(&str, &(dyn Fn() + Sync)); N]) -> [f64; N] {
    let one = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let mut seconds = works.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, work), seconds) in works.iter().zip(&mut seconds) {
            seconds.push(one.install(|| processor_seconds(work)));
        }
    }
    seconds.map(median)
}

/// Measures how long this thread works. Unlike a clock, this does not count other work on the same
/// core. Linux keeps the figure, in nanoseconds.
fn processor_seconds(work: impl Fn()) -> f64 {
    let now = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
        nanos.expect("a number") / 1e9
    };
    let start = now();
    work();
    now() - start
}

/// Makes tensors like a mixture of many experts has: small vectors, and a scale for every tenth.
fn tiny_tensors() -> Vec<Tensor> {
    let random = &mut Random::new(1);
    let tensor = |i: usize| {
        let at = format!("model.layers.{}.mlp.experts.{i}", i / 1000);
        if i % 10 == 9 {
            return Tensor::new(
                &format!("{at}.scale"),
                Dtype::F32,
                &[],
                weights(Dtype::F32, 1, random),
            );
        }
        let len = [64, 96, 128][i % 3];
        let data = weights(Dtype::BF16, len, random);
        Tensor::new(&format!("{at}.w1.bias"), Dtype::BF16, &[len as u64], data)
    };
    (0..TENSORS).map(tensor).collect()
}

/// Makes tensors of 1 to 64 KiB, each power of two of them as often.
fn small_tensors() -> Vec<Tensor> {
    let random = &mut Random::new(2);
    let tensor = |i: usize| {
        let at_least = 512 << (i % 6);
        let len = at_least + random.bits() as usize % at_least;
        let data = weights(Dtype::BF16, len, random);
        Tensor::new(&format!("model.layers.{}.w{i}", i / 100), Dtype::BF16, &[len as u64], data)
    };
    (0..SMALL_TENSORS).map(tensor).collect()
}
