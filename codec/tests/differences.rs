//! Differences to a base: what comes back, what becomes small, and what is refused.

use at1w_codec::{
    Backend, DecodeError, Decoder, DifferenceBuilder, Dtype, EncodeError, Encoder, Level, Model,
    Position,
};

/// A source of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// About normally distributed.
    fn normal(&mut self) -> f32 {
        let sum: u64 = (0..12).map(|_| self.next() & 0xffff).sum();
        (sum as f32 / 65536.0 - 6.0) * 0.05
    }
}

const DTYPES: [Dtype; 8] = [
    Dtype::U8,
    Dtype::BF16,
    Dtype::F16,
    Dtype::I16,
    Dtype::F32,
    Dtype::I32,
    Dtype::F64,
    Dtype::I64,
];

/// The bytes of normal numbers, and of those that were moved by `step` times a normal number.
fn versions(dtype: Dtype, n: usize, step: f32, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let (mut base, mut new) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let a = random.normal();
        let b = a + step * random.normal();
        for (x, out) in [(a, &mut base), (b, &mut new)] {
            match dtype {
                Dtype::BF16 => out.extend(((x.to_bits() + 0x8000) >> 16).to_le_bytes()[..2].iter()),
                Dtype::F16 => {
                    let half = (x.to_bits() >> 13).wrapping_sub(112 << 10) as u16 & 0x7fff;
                    out.extend((half | (x.to_bits() >> 16) as u16 & 0x8000).to_le_bytes());
                }
                Dtype::F32 => out.extend(x.to_le_bytes()),
                Dtype::F64 => out.extend(f64::from(x).to_le_bytes()),
                Dtype::U8 => out.push((x * 500.0) as i8 as u8),
                Dtype::I16 => out.extend(((x * 30000.0) as i16).to_le_bytes()),
                Dtype::I32 => out.extend(((x * 1e6) as i32).to_le_bytes()),
                _ => out.extend(((x * 1e6) as i64).to_le_bytes()),
            }
        }
    }
    (base, new)
}

fn model(dtype: Dtype, base: &[u8], raw: &[u8]) -> Model {
    let mut builder = DifferenceBuilder::new(dtype);
    builder.add(base, raw).unwrap();
    let made = builder.build();
    let read = Model::from_bytes(dtype.layout(), &made.to_bytes()).unwrap();
    assert_eq!(read.to_bytes(), made.to_bytes());
    made
}

fn encode(model: &Model, base: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = Encoder::new(Level::Default);
    encoder.encode_from(model, Position::START, base, raw, &mut encoded).unwrap();
    encoded
}

fn decode(model: &Model, base: &[u8], encoded: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let stored = Model::from_bytes(model.layout(), &model.to_bytes())?;
    let mut raw = vec![0x55; base.len()];
    for backend in Backend::available() {
        let mut decoder = Decoder::new().with_backend(backend);
        decoder.decode_from(&stored, Position::START, base, encoded, &mut raw)?;
    }
    Ok(raw)
}

#[test]
fn versions_come_back_and_are_small() {
    let mut random = Random(7);
    for dtype in DTYPES {
        let width = dtype.layout().width();
        for n in [1, 2, 255, 256, 257, 5000, 70_000] {
            for step in [0.0, 0.001, 0.1, 10.0] {
                let (base, raw) = versions(dtype, n, step, &mut random);
                let model = model(dtype, &base, &raw);
                let encoded = encode(&model, &base, &raw);
                assert!(encoded.len() <= raw.len() + 1, "{dtype} {n} {step}");
                assert_eq!(decode(&model, &base, &encoded).unwrap(), raw, "{dtype} {n} {step}");
                if step == 0.0 {
                    assert_eq!(encoded, [4], "{dtype} {n}");
                }
                if step == 0.001 && n == 70_000 {
                    let alone = Model::of(dtype, Level::Default, &[n as u64], [&raw[..]]).unwrap();
                    let mut other = Vec::new();
                    let mut encoder = Encoder::new(Level::Default);
                    encoder.encode_into(&alone, Position::START, &raw, &mut other).unwrap();
                    let most = other.len() * 3 / 4;
                    assert!(encoded.len() < most, "{dtype}: {} of {most}", encoded.len());
                    assert!(encoded.len() < n * width);
                }
            }
        }
    }
}

#[test]
fn any_words_come_back() {
    let mut random = Random(99);
    for dtype in DTYPES {
        let len = 6000 * dtype.layout().width();
        let mut bytes = || -> Vec<u8> { (0..len).map(|_| random.next() as u8).collect() };
        let (a, b, c) = (bytes(), bytes(), bytes());
        let zero = vec![0; len];
        let model = model(dtype, &a, &b);
        // Also a chunk that the model knows nothing of.
        for (base, raw) in [(&a, &b), (&b, &c), (&zero, &c), (&c, &zero)] {
            let encoded = encode(&model, base, raw);
            assert_eq!(&decode(&model, base, &encoded).unwrap(), raw, "{dtype}");
        }
    }
}

#[test]
fn merged_builders_make_the_same_model() {
    let mut random = Random(3);
    let (base, raw) = versions(Dtype::BF16, 40_000, 0.01, &mut random);
    let mut one = DifferenceBuilder::new(Dtype::BF16);
    let mut sum = one.clone();
    for (base, raw) in base.chunks(8000).zip(raw.chunks(8000)) {
        one.add(base, raw).unwrap();
        let mut other = DifferenceBuilder::new(Dtype::BF16);
        other.add(base, raw).unwrap();
        sum.merge(&other);
    }
    assert_eq!(one.build().to_bytes(), sum.build().to_bytes());
}

#[test]
fn what_has_no_base_is_refused() {
    let mut random = Random(5);
    let (base, raw) = versions(Dtype::BF16, 5000, 0.01, &mut random);
    let model = model(Dtype::BF16, &base, &raw);
    let encoded = encode(&model, &base, &raw);
    let plain = Model::plain(Dtype::BF16.layout());
    let mut out = vec![0; raw.len()];
    let mut decoder = Decoder::new();
    let start = Position::START;
    for encoded in [&encoded[..], &[4]] {
        assert_eq!(decoder.decode(&model, start, encoded, &mut out), Err(DecodeError::NoBase));
    }
    assert_eq!(
        decoder.decode_from(&plain, start, &base, &encoded, &mut out),
        Err(DecodeError::NoDifferences)
    );
    assert_eq!(
        decoder.decode_from(&plain, start, &base, &[4, 0], &mut out),
        Err(DecodeError::TrailingBytes { extra: 1 })
    );
    assert!(matches!(
        decoder.decode_from(&model, start, &base[2..], &encoded, &mut out),
        Err(DecodeError::BaseLength { .. })
    ));
    let mut none = Vec::new();
    assert!(matches!(
        Encoder::new(Level::Fast).encode_from(&model, start, &base[2..], &raw, &mut none),
        Err(EncodeError::Base { .. })
    ));
    for cut in 0..encoded.len() {
        assert!(decode(&model, &base, &encoded[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn hostile_models_are_refused() {
    let layout = Dtype::BF16.layout();
    let read = |bytes: &[u8]| Model::from_bytes(layout, bytes).map(|_| ()).unwrap_err();
    // Five classes; thresholds that are 0, equal or falling; unknown bits.
    for bytes in [&[32, 4, 1, 2, 3, 4][..], &[32, 1, 0], &[32, 2, 7, 7], &[32, 2, 9, 8], &[32, 64]]
    {
        assert_eq!(read(bytes), DecodeError::Classes, "{bytes:?}");
    }
    assert_eq!(read(&[32, 0, 0]), DecodeError::Truncated);
    assert_eq!(read(&[32, 0, 0, 0, 0]), DecodeError::TrailingBytes { extra: 1 });
    assert_eq!(read(&[32, 0, 9]), DecodeError::UnknownTable { plane: 0, kind: 9 });
    let words = Dtype::I16.layout();
    assert!(Model::from_bytes(words, &[32, 0, 0, 0]).is_ok());
    for bytes in [&[32, 0x80, 0, 0][..], &[32, 1, 5, 0, 0, 0, 0]] {
        assert_eq!(Model::from_bytes(words, bytes).unwrap_err(), DecodeError::Classes);
    }
}
