//! Prints the table of tiny tensors of `docs/BENCHMARKS.md`: the processor time per tensor of
//! packing and loading a file of 100,000 of them on one thread, beside loading them with
//! safetensors. A file of large tensors hides the cost of a tensor beside its bytes.

use std::fs::{self, File};
use std::hint::black_box;

use at1w_benches::median;
use at1w_codec::Dtype;
use at1w_container::{Level, PackOptions, Reader, pack};
use at1w_tests::{Random, Tensor, safetensors, weights};
use rayon::ThreadPoolBuilder;
use safetensors::SafeTensors;

const TENSORS: usize = 100_000;

const ROUNDS: usize = 3;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (plain, packed) = (dir.path().join("a.safetensors"), dir.path().join("a.at1w"));
    fs::write(&plain, safetensors(&tensors())).expect("room for a file");
    let source = File::open(&plain).expect("just written");
    let mut target = File::create(&packed).expect("room for a file");
    pack(&source, &mut target, &PackOptions::new()).expect("a safetensors file");

    let at = |level| {
        pack(&source, &mut std::io::sink(), &PackOptions::new().level(level))
            .expect("a safetensors file");
    };
    let load = || {
        let reader = Reader::open(&packed).expect("what was packed");
        for tensor in reader.tensors() {
            black_box(tensor.read_to_vec().expect("an intact file"));
        }
    };
    let load_plain = || {
        let bytes = fs::read(&plain).expect("just written");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        for (_, tensor) in file.iter() {
            black_box(tensor.data().to_vec());
        }
    };
    let one = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let works: [(&str, &(dyn Fn() + Sync)); 5] = [
        ("load with safetensors", &load_plain),
        ("load, every SHA-256 proven", &load),
        ("pack at level fast", &|| at(Level::Fast)),
        ("pack at level default", &|| at(Level::Default)),
        ("pack at level max", &|| at(Level::Max)),
    ];
    let mut seconds = works.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, work), seconds) in works.iter().zip(&mut seconds) {
            seconds.push(one.install(|| processor_seconds(work)));
        }
    }
    let seconds = seconds.map(median);

    println!("\n{TENSORS} tensors of 64 to 128 bf16 or one f32, processor time of one thread:\n");
    println!("| what | µs a tensor | ratio |\n|---|---|---|");
    for ((what, _), each) in works.iter().zip(seconds) {
        let (micros, ratio) = (each / TENSORS as f64 * 1e6, each / seconds[0]);
        println!("| {what} | {micros:.1} | {ratio:.1} x safetensors |");
    }
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
fn tensors() -> Vec<Tensor> {
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
