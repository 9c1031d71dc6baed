//! Reading, verifying and packing files in memory, beside one SHA-256 over the same bytes.

use std::hint::black_box;

use at1w_benches::data::Weights;
use at1w_codec::Dtype;
use at1w_container::{PackOptions, pack};
use at1w_tests::{Tensor, open, packed, safetensors};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

fn container(c: &mut Criterion) {
    for weights in [
        Weights::corpus("whisper-tiny.bf16.safetensors", Dtype::BF16),
        Weights::corpus("minilm-l6-v2.bf16.safetensors", Dtype::BF16),
        Weights::gaussian(),
    ] {
        let tensors: Vec<Tensor> = (weights.tensors.iter().enumerate())
            .map(|(i, raw)| {
                Tensor::new(&i.to_string(), weights.dtype, &[raw.len() as u64 / 2], raw.clone())
            })
            .collect();
        let original = safetensors(&tensors);
        let reader = open(&packed(&original).expect("a safetensors file")).expect("just packed");
        let mut out = vec![0; original.len()];

        let mut group = c.benchmark_group(format!("{} file", weights.name));
        group.throughput(Throughput::Bytes(original.len() as u64)).sample_size(10);
        group.bench_function("memcpy", |b| {
            b.iter(|| black_box(&mut out).copy_from_slice(&original));
        });
        group.bench_function("one sha2 stream", |b| b.iter(|| Sha256::digest(&original)));
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("threads");
            group.bench_function(format!("read, {threads} threads"), |b| {
                b.iter(|| {
                    pool.install(|| {
                        let mut rest = &mut out[..];
                        for tensor in reader.tensors() {
                            let len = tensor.raw_len() as usize;
                            let out = rest.split_off_mut(..len).expect("as long as the file");
                            tensor.read(out).expect("an intact file");
                        }
                    });
                });
            });
            group.bench_function(format!("verify, {threads} threads"), |b| {
                b.iter(|| pool.install(|| reader.verify(&())));
            });
            group.bench_function(format!("pack, {threads} threads"), |b| {
                b.iter(|| {
                    pool.install(|| pack(&original, &mut std::io::sink(), &PackOptions::new()))
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, container);
criterion_main!(benches);
