//! An encoder, a decoder and a builder of models can be given a back-end, and all give the same
//! bytes.

use at1w_codec::{Backend, Decoder, Dtype, Encoder, Level, Model, ModelBuilder, Next, Position};

const ROWS: usize = 400;
const COLUMNS: usize = 96;

/// The elements of a matrix whose columns have means and scales of their own, and of which each is
/// near the one before.
fn matrix(dtype: Dtype) -> Vec<u8> {
    let mut x = 7_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f32 / (1_u64 << 53) as f32 - 0.5
    };
    let mut raw = Vec::new();
    for _ in 0..ROWS {
        let mut before = 0.0;
        for column in 0..COLUMNS {
            before = 0.8 * before + next() * next();
            let value = (before + (column % 5) as f32 * 0.1) * ((1 + column % 7) as f32);
            match dtype {
                Dtype::F32 => raw.extend(value.to_le_bytes()),
                _ => raw.extend(((value.to_bits() >> 16) as u16).to_le_bytes()),
            }
        }
    }
    raw
}

fn model(backend: Backend, dtype: Dtype, level: Level, raw: &[u8]) -> Model {
    let shape = [ROWS as u64, COLUMNS as u64];
    let mut builder = ModelBuilder::new(dtype, level, &shape).with_backend(backend);
    loop {
        builder.add(Position::START, raw).unwrap();
        match builder.next() {
            Next::Pass(next) => builder = *next,
            Next::Done(model) => return model,
        }
    }
}

#[test]
fn every_back_end_gives_the_same_bytes() {
    for dtype in [Dtype::BF16, Dtype::F32, Dtype::U8] {
        let raw = matrix(dtype);
        for level in [Level::Fast, Level::Default, Level::Max] {
            let expected = model(Backend::SCALAR, dtype, level, &raw);
            let encode = |backend| {
                let mut out = vec![0; Encoder::max_encoded_len(raw.len())];
                let mut encoder = Encoder::new(level).with_backend(backend);
                let len = encoder.encode(&expected, Position::START, &raw, &mut out).unwrap();
                out.truncate(len);
                out
            };
            let encoded = encode(Backend::SCALAR);
            for backend in Backend::available() {
                let model = model(backend, dtype, level, &raw);
                assert!(model.to_bytes() == expected.to_bytes(), "{backend}, {dtype:?}, {level:?}");
                assert!(encode(backend) == encoded, "{backend}, {dtype:?}, {level:?}");
                let mut back = vec![0; raw.len()];
                let mut decoder = Decoder::new().with_backend(backend);
                decoder.decode(&model, Position::START, &encoded, &mut back).unwrap();
                assert!(back == raw, "{backend}, {dtype:?}, {level:?}");
            }
        }
    }
    // Or the kernels of predictions have not been run.
    let raw = matrix(Dtype::BF16);
    let model = model(Backend::best(), Dtype::BF16, Level::Max, &raw);
    assert!(model.to_string().contains("prediction"), "{model}");
}
