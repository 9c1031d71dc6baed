//! Kernels, beside memcpy of their output.

use std::hint::black_box;

use at1w_benches::data::{CHUNK_LEN, Weights};
use at1w_codec::Dtype;
use at1w_simd::planes::{self, Layout};
use at1w_simd::sha256::{self, Stream};
use at1w_simd::{Backend, histogram, lanes};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

fn kernels(c: &mut Criterion) {
    let whisper = Weights::corpus("whisper-tiny.bf16.safetensors", Dtype::BF16);
    let raw = &whisper.bytes()[..CHUNK_LEN];
    let backend = Backend::from_environment().expect("a back-end of this machine");
    let mut split = vec![0; raw.len()];
    planes::split(backend, Layout::FLOAT16, raw, &mut split);
    let (low, high) = split.split_at(raw.len() / 2);

    let mut group = c.benchmark_group("bf16 words");
    group.throughput(Throughput::Bytes(raw.len() as u64));
    let mut out = vec![0; raw.len()];
    group.bench_function("memcpy", |b| b.iter(|| black_box(&mut out).copy_from_slice(raw)));
    group.bench_function("split", |b| {
        b.iter(|| planes::split(backend, Layout::FLOAT16, raw, &mut out))
    });
    group.bench_function("merge", |b| {
        b.iter(|| planes::merge(backend, Layout::FLOAT16, &[low, high], &mut out));
    });
    let table = table(backend, high);
    let mut scratch = vec![0; high.len() + 64];
    let mut states = [0; 256];
    let used = lanes::encode(backend, &table, high, &mut states, &mut scratch);
    let stream = scratch[scratch.len() - used..].to_vec();
    let count = lanes::escaped(backend, &table, high, &mut scratch);
    let escaped = scratch[..count].to_vec();
    let input = lanes::Input { stream: &stream, escaped: &escaped };
    group.bench_function("lane decode, merged", |b| {
        b.iter(|| {
            let (mut states, mut input) = (states, input);
            lanes::decode_float16(backend, &table, &mut states, &mut input, low, &mut out)
        });
    });
    group.finish();

    let mut group = c.benchmark_group("exponent plane");
    group.throughput(Throughput::Bytes(high.len() as u64));
    let mut plane = vec![0; high.len()];
    group.bench_function("memcpy", |b| b.iter(|| black_box(&mut plane).copy_from_slice(high)));
    group.bench_function("histogram", |b| b.iter(|| histogram::add(backend, high, &mut [0; 256])));
    group.bench_function("lane encode", |b| {
        b.iter(|| lanes::encode(backend, &table, high, &mut [0; 256], &mut scratch));
    });
    group.bench_function("lane decode", |b| {
        b.iter(|| {
            let (mut states, mut input) = (states, input);
            lanes::decode(backend, &table, &mut states, &mut input, &mut plane)
        });
    });
    group.finish();

    let messages = vec![raw.to_vec(); sha256::width(backend)];
    let mut group = c.benchmark_group("SHA-256");
    group.throughput(Throughput::Bytes((messages.len() * raw.len()) as u64));
    group.sample_size(10);
    group.bench_function("one sha2 stream after the other", |b| {
        b.iter(|| messages.iter().map(Sha256::digest).for_each(|digest| _ = black_box(digest)));
    });
    group.bench_function("side by side", |b| {
        b.iter(|| {
            let mut states = vec![sha256::INITIAL; messages.len()];
            let streams = states.iter_mut().zip(&messages);
            let mut streams: Vec<_> =
                streams.map(|(state, blocks)| Stream { state, blocks }).collect();
            sha256::compress(backend, &mut streams);
        });
    });
    group.finish();
}

/// Makes a table of the most frequent symbols; the others are escaped.
fn table(backend: Backend, plane: &[u8]) -> lanes::CodingTable {
    let mut counts = [0; 256];
    histogram::add(backend, plane, &mut counts);
    at1w_benches::lane_table(&counts)
}

criterion_group!(benches, kernels);
criterion_main!(benches);
