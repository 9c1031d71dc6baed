//! The chunk codec and its kernels beside memcpy, on one chunk of Gaussian weights. Throughput is
//! in raw bytes.

use at1w_codec::{Decoder, Dtype, Encoder, ModelBuilder, max_encoded_len};
use at1w_simd::planes;
use at1w_tests::{Random, weights};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const CHUNK_LEN: usize = 512 << 10;

fn chunk(c: &mut Criterion) {
    for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
        let layout = dtype.layout();
        let raw = weights(dtype, CHUNK_LEN / layout.width(), &mut Random::new(1));
        let mut statistics = ModelBuilder::new(layout);
        statistics.add(&raw).expect("a whole chunk");
        let model = statistics.build();
        let mut encoded = vec![0; max_encoded_len(raw.len())];
        let mut encoder = Encoder::new();
        let len = encoder.encode(&model, &raw, &mut encoded).expect("a whole chunk");
        let mut out = vec![0; raw.len()];

        let mut group = c.benchmark_group(dtype.name());
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function("memcpy", |b| b.iter(|| out.copy_from_slice(&raw)));
        group.bench_function("split", |b| b.iter(|| planes::split(layout, &raw, &mut out)));
        group.bench_function("encode", |b| {
            let mut encoded = vec![0; max_encoded_len(raw.len())];
            b.iter(|| encoder.encode(&model, &raw, &mut encoded));
        });
        let mut decoder = Decoder::new();
        group.bench_function("decode", |b| {
            b.iter(|| decoder.decode(&model, &encoded[..len], &mut out));
        });
        group.finish();
    }
}

criterion_group!(benches, chunk);
criterion_main!(benches);
