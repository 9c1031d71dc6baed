//! The chunk codec beside memcpy and general compressors, on one chunk in cache.

use std::hint::black_box;

use at1w_benches::baselines::Baseline;
use at1w_benches::data::{CHUNK_LEN, Weights};
use at1w_codec::{Decoder, Dtype, Encoder, Level, Model, Position};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn chunk(c: &mut Criterion) {
    for weights in [
        Weights::corpus("whisper-tiny.bf16.safetensors", Dtype::BF16),
        Weights::corpus("minilm-l6-v2.bf16.safetensors", Dtype::BF16),
        Weights::corpus("whisper-tiny.safetensors", Dtype::F16),
        Weights::corpus("minilm-l6-v2.safetensors", Dtype::F32),
        Weights::gaussian(),
    ] {
        let layout = weights.dtype.layout();
        let large = weights.tensors.iter().position(|raw| raw.len() >= CHUNK_LEN);
        let large = large.expect("a large one");
        let (raw, shape) = (&weights.tensors[large][..CHUNK_LEN], &weights.shapes[large]);
        let mut group = c.benchmark_group(format!("{} {}", weights.name, weights.dtype.name()));
        group.throughput(Throughput::Bytes(raw.len() as u64));
        let mut out = vec![0; raw.len()];
        group.bench_function("memcpy", |b| b.iter(|| black_box(&mut out).copy_from_slice(raw)));

        let of = || Model::of(weights.dtype, Level::Default, shape, [raw]).expect("whole elements");
        let model = of();
        let mut encoder = Encoder::new(Level::Default);
        let mut encoded = vec![0; Encoder::max_encoded_len(raw.len())];
        group.bench_function("model", |b| b.iter(of));
        group.bench_function("encode", |b| {
            b.iter(|| encoder.encode(&model, Position::START, raw, &mut encoded))
        });
        let len = encoder.encode(&model, Position::START, raw, &mut encoded).expect("room");
        let mut decoder = Decoder::new();
        group.bench_function("decode", |b| {
            b.iter(|| decoder.decode(&model, Position::START, &encoded[..len], &mut out));
        });

        group.sample_size(10);
        for baseline in Baseline::all(layout) {
            let encoded = baseline.encode(raw);
            group.bench_function(format!("{} encode", baseline.name()), |b| {
                b.iter(|| baseline.encode(raw));
            });
            group.bench_function(format!("{} decode", baseline.name()), |b| {
                b.iter(|| baseline.decode(&encoded, &mut out));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, chunk);
criterion_main!(benches);
