//! Chunks of any bytes come back; no bytes make the decoder panic or write where it should not.

use at1w_codec::block::BlockDecoder;
use at1w_codec::{
    DecodeError, Decoder, Dtype, EncodeError, Encoder, Layout, Level, Model, Position,
};
use proptest::prelude::*;

/// Bytes whose planes are of every kind: random, constant, few symbols, many skewed ones.
fn mixed(layout: Layout, elements: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let kinds: Vec<u64> = (0..layout.width()).map(|_| next() % 4).collect();
    (0..elements)
        .flat_map(|_| {
            kinds
                .iter()
                .map(|kind| match kind {
                    0 => next() as u8,
                    1 => 7,
                    2 => next().leading_zeros() as u8 + 100,
                    _ => (next() % 64 * (next() % 4)) as u8,
                })
                .collect::<Vec<u8>>()
        })
        .collect()
}

/// Floats whose scale differs by row and column, with a few zeros and outliers.
fn weights_of(dtype: Dtype, elements: usize, columns: u64, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x >> 11
    };
    let scale = |i: u64| 2_f64.powi((i.wrapping_mul(0x9e37_79b9) >> 9) as i32 % 4);
    let mut raw = Vec::new();
    for i in 0..elements as u64 {
        let (row, column) = ((i + ELEMENTS_BEFORE) / columns, (i + ELEMENTS_BEFORE) % columns);
        let unit = next() as f64 / (1_u64 << 52) as f64 - 1.0;
        let value = match next() % 500 {
            0 => 0.0,
            1 => unit * 1e9,
            _ => unit * scale(row) * scale(column + 7) / 100.0,
        };
        match dtype {
            Dtype::F64 => raw.extend(value.to_le_bytes()),
            Dtype::F32 => raw.extend((value as f32).to_le_bytes()),
            _ => raw.extend(&value.to_le_bytes()[8 - dtype.layout().width()..]),
        }
    }
    raw
}

/// Where in its tensor each chunk of these tests begins.
const ELEMENTS_BEFORE: u64 = 1234;
const POSITION: Position = Position::after_elements(ELEMENTS_BEFORE);

/// One of every layout, and of every way that floats of 16 bits are scaled.
const DTYPES: [Dtype; 8] = [
    Dtype::U8,
    Dtype::I16,
    Dtype::I32,
    Dtype::I64,
    Dtype::F16,
    Dtype::BF16,
    Dtype::F32,
    Dtype::F64,
];

const LEVELS: [Level; 3] = [Level::Fast, Level::Default, Level::Max];

fn model_of(dtype: Dtype, level: Level, columns: u64, raw: &[u8]) -> Model {
    let rows = raw.len() as u64 / dtype.layout().width() as u64 / columns + 1;
    Model::of(dtype, level, &[rows, columns], [raw]).unwrap()
}

fn encode(model: &Model, raw: &[u8]) -> Vec<u8> {
    let mut encoded = vec![0; Encoder::max_encoded_len(raw.len())];
    let len = Encoder::new(Level::Max).encode(model, POSITION, raw, &mut encoded).unwrap();
    encoded.truncate(len);
    encoded
}

/// Decodes twice into differently filled memory, to catch bytes that are not written.
fn decode(model: &Model, encoded: &[u8], len: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new();
    let (mut a, mut b) = (vec![0; len], vec![0xff; len]);
    let first = decoder.decode(model, POSITION, encoded, &mut a);
    assert_eq!(first, Decoder::new().decode(model, POSITION, encoded, &mut b));
    first?;
    assert!(a == b);
    Ok(a)
}

#[test]
fn every_small_length_of_every_layout() {
    for dtype in DTYPES {
        let layout = dtype.layout();
        for elements in (0..=300).chain([1024, 1500, 2047]) {
            let raw = mixed(layout, elements, elements as u64 + 1);
            let models = LEVELS.map(|level| model_of(dtype, level, 32, &raw));
            for model in models.into_iter().chain([Model::plain(layout)]) {
                let encoded = encode(&model, &raw);
                assert!(encoded.len() <= Encoder::max_encoded_len(raw.len()));
                assert_eq!(decode(&model, &encoded, raw.len()).unwrap(), raw);
            }
        }
    }
}

#[test]
fn a_model_of_other_data_still_round_trips() {
    for dtype in DTYPES {
        let layout = dtype.layout();
        let model = model_of(dtype, Level::Default, 50, &mixed(layout, 5000, 1));
        for seed in 2..20 {
            let raw = mixed(layout, 3000, seed);
            assert_eq!(decode(&model, &encode(&model, &raw), raw.len()).unwrap(), raw);
        }
    }
}

#[test]
fn wrong_lengths_are_named() {
    let model = Model::plain(Layout::FLOAT32);
    let mut out = [0; 64];
    let mut encoder = Encoder::new(Level::Max);
    assert_eq!(
        encoder.encode(&model, Position::START, &[0; 5], &mut out),
        Err(EncodeError::Ragged { len: 5, width: 4 })
    );
    assert_eq!(
        encoder.encode(&model, Position::START, &[0; 64], &mut out),
        Err(EncodeError::OutputTooSmall { len: 64, needed: 65 })
    );
    let mut decoder = Decoder::new();
    assert_eq!(
        decoder.decode(&model, Position::START, &[0], &mut [0; 3]),
        Err(DecodeError::Ragged { len: 3, width: 4 })
    );
    assert_eq!(
        decoder.decode(&model, Position::START, &[], &mut [0; 4]),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        decoder.decode(&model, Position::START, &[0], &mut []),
        Err(DecodeError::TrailingBytes { extra: 1 })
    );
    assert_eq!(
        decoder.decode(&model, Position::START, &[9, 9], &mut [0; 4]),
        Err(DecodeError::UnknownMethod(9))
    );
}

#[test]
fn hostile_models_are_refused() {
    let read = |layout, bytes: &[u8]| Model::from_bytes(layout, bytes).map(|_| ());
    let float = |bytes: &[u8]| read(Layout::FLOAT16, bytes);
    // Flags, base, shift, row length, columns, three kinds of tables.
    assert_eq!(float(&[2, 0, 0, 4, 100, 0, 0, 0]), Ok(()));
    assert_eq!(float(&[4, 0, 0, 4, 100, 1, 77, 0, 0]), Ok(()));
    assert_eq!(float(&[16, 0, 0, 4, 100, 0, 0, 0]), Err(DecodeError::UnknownModel(16)));
    let words = read(Layout::WORD16, &[2, 0, 0, 4, 100, 0, 0, 0]);
    assert_eq!(words, Err(DecodeError::UnknownModel(2)));
    assert_eq!(float(&[2, 0, 0, 8, 100, 0, 0, 0]), Err(DecodeError::Scale));
    assert_eq!(float(&[2, 0, 0, 4, 0, 0, 0, 0]), Err(DecodeError::Scale));
    // Rows of 2^18 + 1 elements; columns that end early; columns with the table of the model.
    assert_eq!(float(&[2, 0, 0, 4, 0x81, 0x80, 0x10, 0, 0, 0]), Err(DecodeError::Scale));
    assert_eq!(float(&[4, 0, 0, 4, 100, 0, 77, 0, 0]), Err(DecodeError::Truncated));
    assert_eq!(float(&[4, 0, 0, 4, 1, 2, 0, 0, 0]), Err(DecodeError::NoTable { plane: 0 }));
    assert_eq!(float(&[0, 0, 0]), Err(DecodeError::EmptyModel));
    assert_eq!(float(&[1, 0, 0, 0, 0, 0]), Err(DecodeError::TrailingBytes { extra: 1 }));
}

#[test]
fn hostile_contexts_are_refused() {
    let float = |bytes: &[u8]| Model::from_bytes(Layout::FLOAT16, bytes).map(|_| ());
    // Flags, base, shift, row length; the shift of symbols, the number of contexts; exponents, of
    // which one has all but the one of the escape; mantissas; two kinds of tables.
    let head = [8, 0, 0, 4, 10];
    let exponents = |escape: u8| {
        let mut bytes = vec![0xff, 0x1f];
        bytes.extend([0; 14]);
        bytes.push(escape);
        bytes.extend([0; 15]);
        bytes
    };
    let model = |head: &[u8], contexts: &[u8], exponents: &[u8], mantissas: &[u8]| {
        [head, contexts, exponents, mantissas, &[0; 2]].concat()
    };
    let uniform = [0; 15];
    assert_eq!(float(&model(&head, &[4, 1], &exponents(1), &uniform)), Ok(()));
    for (contexts, exponents, mantissas) in [
        (&[8, 1][..], exponents(1), &uniform[..]),
        (&[4, 0], exponents(1), &uniform),
        (&[4, 17], exponents(1), &uniform),
        // Not all slots, or none for the escape.
        (&[4, 1], exponents(0), &uniform),
        (&[4, 1], [&[0x80, 0x20][..], &[0; 30]].concat(), &uniform),
        (&[4, 1], exponents(2), &uniform),
        // Mantissas of more than 256, and uniform ones in another spelling.
        (&[4, 1], exponents(1), &[255, 2, 0, 0, 0, 0, 0]),
        (&[4, 1], exponents(1), &[32; 7]),
        // A column of a context that there is not.
        (&[4, 0x81, 1, 1], exponents(1), &uniform),
    ] {
        let refused = float(&model(&head, contexts, &exponents, mantissas));
        assert_eq!(refused, Err(DecodeError::Contexts), "{contexts:?} {mantissas:?}");
    }
    assert_eq!(
        float(&model(&[9, 0, 0, 4, 10], &[4, 1], &exponents(1), &uniform)),
        Err(DecodeError::UnknownModel(9))
    );
    let plain = Model::plain(Layout::FLOAT16);
    assert_eq!(decode(&plain, &[3, 0, 0], 4), Err(DecodeError::NoContexts));
}

/// Floats of which each column leans on the one before it, some rows of them.
fn leaning(dtype: Dtype, rows: usize, columns: usize, seed: u64) -> Vec<u8> {
    let noise = weights_of(Dtype::F64, rows * columns, columns as u64, seed);
    let mut last = 0.0;
    let values = noise.as_chunks().0.iter().enumerate().map(|(i, bytes)| {
        let lean = if i % columns == 0 { 0.0 } else { 0.9 * last };
        last = lean + f64::from_le_bytes(*bytes).clamp(-1.0, 1.0);
        last
    });
    let width = dtype.layout().width();
    values
        .flat_map(|value| match dtype {
            Dtype::F64 => value.to_le_bytes().to_vec(),
            Dtype::F32 => (value as f32).to_le_bytes().to_vec(),
            // Of F16 the bits make other floats, which lean on each other as well.
            _ => (value as f32).to_le_bytes()[4 - width..].to_vec(),
        })
        .collect()
}

/// The model of a matrix, its chunks of so many rows encoded, and these decoded with the model as
/// it is read again.
fn through_rows(dtype: Dtype, raw: &[u8], columns: usize, rows: usize) -> (Model, Vec<Vec<u8>>) {
    let row_len = columns * dtype.layout().width();
    let shape = [(raw.len() / row_len) as u64, columns as u64];
    let model = Model::of(dtype, Level::Max, &shape, [raw]).unwrap();
    let read = Model::from_bytes(dtype.layout(), &model.to_bytes()).unwrap();
    let mut encoder = Encoder::new(Level::Max);
    let chunks = raw.chunks(rows * row_len).enumerate().map(|(i, chunk)| {
        let position = Position::after_elements((i * rows * columns) as u64);
        let mut encoded = vec![0; Encoder::max_encoded_len(chunk.len())];
        let len = encoder.encode(&model, position, chunk, &mut encoded).unwrap();
        encoded.truncate(len);
        for fill in [0, 0xff] {
            let mut back = vec![fill; chunk.len()];
            Decoder::new().decode(&read, position, &encoded, &mut back).unwrap();
            assert!(back == chunk, "rows from {}", i * rows);
        }
        encoded
    });
    let chunks = chunks.collect();
    (model, chunks)
}

#[test]
fn columns_that_lean_on_others_are_predicted() {
    for dtype in [Dtype::BF16, Dtype::F32] {
        let raw = leaning(dtype, 600, 60, 5);
        let (model, chunks) = through_rows(dtype, &raw, 60, 600);
        assert!(model.to_string().contains("prediction"), "{model}");
        let plain = Model::of(dtype, Level::Default, &[600, 60], [&raw[..]]).unwrap();
        let mut encoded = vec![0; Encoder::max_encoded_len(raw.len())];
        let len = Encoder::default().encode(&plain, Position::START, &raw, &mut encoded).unwrap();
        assert!(chunks[0].len() + model.to_bytes().len() < len - len / 50);
        // Chunks of parts of rows are coded without.
        for (elements, cut) in [(0, 61), (1, 60), (59, 1)] {
            let position = Position::after_elements(elements);
            let raw = &raw[..cut * dtype.layout().width()];
            let mut encoded = vec![0; Encoder::max_encoded_len(raw.len())];
            let len = Encoder::default().encode(&model, position, raw, &mut encoded).unwrap();
            let mut back = vec![0; raw.len()];
            Decoder::new().decode(&model, position, &encoded[..len], &mut back).unwrap();
            assert_eq!(back, raw);
        }
        let mut back = vec![0; raw.len()];
        for (elements, len) in [(1, raw.len()), (0, raw.len() - dtype.layout().width())] {
            let position = Position::after_elements(elements);
            let refused = Decoder::new().decode(&model, position, &chunks[0], &mut back[..len]);
            assert_eq!(refused, Err(DecodeError::Prediction));
        }
    }
}

#[test]
fn hostile_predictions_are_refused() {
    // Contexts of rows of three elements, one context; two levels have it in a byte.
    let model = |row_len: &[u8], prediction: &[u8]| {
        let head = [&[8, 0, 0, 4][..], row_len, &[4, 0x41]].concat();
        let exponents = [&[0xff, 0x1f][..], &[0; 14], &[1], &[0; 15]].concat();
        let bytes = [&head, prediction, &exponents, &[0; 15], &[0; 2]].concat();
        Model::from_bytes(Layout::FLOAT16, &bytes).map(|_| ())
    };
    let levels = [0; 8];
    // Intercepts, number of terms, low and high bytes of distances, coefficients: planes that are
    // constant or raw.
    let planes = |counts: [u8; 3], low: &[u8], high: u8| {
        [&levels[..], &[1, 7, 0], &counts, &[0], low, &[1, high, 1, 64]].concat()
    };
    assert_eq!(model(&[3], &planes([0, 1, 2], &[0, 0, 0], 0)), Ok(()));
    assert_eq!(model(&[3], &planes([0, 0, 1], &[1], 0)), Ok(()));
    for (counts, low, high) in [
        // No terms at all; a term of the first column; of itself; of one after it; far away.
        ([0, 0, 0], &[][..], 0),
        ([1, 0, 0], &[0], 0),
        ([0, 1, 0], &[1], 0),
        ([0, 1, 0], &[2], 0),
        ([0, 0, 1], &[0], 1),
        // More terms than columns before, and than are allowed.
        ([0, 2, 0], &[0, 0], 0),
        ([0, 0, 33], &[0; 33], 0),
    ] {
        let refused = model(&[3], &planes(counts, low, high));
        assert_eq!(refused, Err(DecodeError::Prediction), "{counts:?} {low:?} {high}");
    }
    // A level of a context that there is not; rows of 8,193 elements.
    let mut unknown = planes([0, 1, 2], &[0, 0, 0], 0);
    unknown[7] = 0x10;
    assert_eq!(model(&[3], &unknown), Err(DecodeError::Prediction));
    let long = [&levels[..], &[1, 7, 1, 1]].concat();
    assert_eq!(model(&[0x81, 0x40], &long), Err(DecodeError::Prediction));
    assert_eq!(model(&[3], &levels[1..]), Err(DecodeError::Prediction));
    // Of columns and of predictions at once.
    let both = [8, 0, 0, 4, 3, 4, 0xc1];
    let refused = Model::from_bytes(Layout::FLOAT16, &both).map(|_| ());
    assert_eq!(refused, Err(DecodeError::Contexts));
}

#[test]
fn any_shape_will_do_as_a_hint() {
    let raw = weights_of(Dtype::BF16, 5000, 50, 9);
    for shape in [&[][..], &[0], &[7], &[1, 1], &[u64::MAX], &[u64::MAX, 50], &[3, u64::MAX, 0]] {
        let model = Model::of(Dtype::BF16, Level::Max, shape, [&raw[..]]).unwrap();
        assert_eq!(decode(&model, &encode(&model, &raw), raw.len()).unwrap(), raw, "{shape:?}");
    }
}

#[test]
fn hostile_repeats_are_refused() {
    let model = Model::plain(Layout::BYTES);
    // One sequence of two literals and a repeat of three, by constant planes.
    let constant = |value: u8| [9, 1, 1, value, 1, 0, 1, 0, 1, 0];
    let chunk = |count: u8, run, len, distance| {
        let mut bytes = vec![2, count];
        bytes.extend([run, len, distance].iter().flat_map(|&value| constant(value)));
        bytes.extend([0, 5, 6]);
        bytes
    };
    assert_eq!(decode(&model, &chunk(1, 2, 3, 2), 5), Ok(vec![5, 6, 5, 6, 5]));
    for (count, run, len, distance) in
        [(0, 2, 3, 2), (3, 2, 3, 2), (1, 2, 3, 3), (1, 2, 3, 0), (1, 2, 4, 2), (1, 9, 3, 2)]
    {
        let refused = decode(&model, &chunk(count, run, len, distance), 5);
        assert_eq!(refused, Err(DecodeError::Matches), "{count} {run} {len} {distance}");
    }
    // Matches inside of matches.
    let mut nested = chunk(1, 2, 3, 2);
    nested[3] = 2;
    assert_eq!(decode(&model, &nested, 5), Err(DecodeError::UnknownMethod(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_chunk_comes_back(
        dtype in proptest::sample::select(&DTYPES[..]),
        level in proptest::sample::select(&LEVELS[..]),
        elements in 0usize..70_000,
        columns in 1u64..2000,
        seed in any::<u64>(),
        weights in any::<bool>(),
    ) {
        let layout = dtype.layout();
        let raw = if weights {
            weights_of(dtype, elements, columns, seed)
        } else {
            mixed(layout, elements, seed)
        };
        let model = model_of(dtype, level, columns, &raw);
        let bytes = model.to_bytes();
        prop_assert!(bytes.len() <= Model::MAX_LEN);
        let encoded = encode(&model, &raw);
        let read = Model::from_bytes(layout, &bytes).unwrap();
        prop_assert!(decode(&read, &encoded, raw.len()).unwrap() == raw);
        prop_assert!(encode(&read, &raw) == encoded, "a model that was stored encodes the same");
    }

    #[test]
    fn any_tensor_of_one_chunk_comes_back(
        dtype in proptest::sample::select(&DTYPES[..]),
        level in proptest::sample::select(&LEVELS[..]),
        elements in prop_oneof![0usize..600, 0usize..40_000],
        columns in 1u64..2000,
        seed in any::<u64>(),
        weights in any::<bool>(),
    ) {
        let raw = if weights {
            weights_of(dtype, elements, columns, seed)
        } else {
            mixed(dtype.layout(), elements, seed)
        };
        let mut encoder = Encoder::new(level);
        let shape = [elements as u64 / columns, columns];
        let mut out = vec![0; Encoder::max_encoded_len(raw.len())];
        let (model, len) = encoder.encode_tensor(dtype, &shape, &raw, &mut out).unwrap();
        let read = Model::from_bytes(dtype.layout(), &model.to_bytes()).unwrap();
        let mut back = vec![1; raw.len()];
        Decoder::new().decode(&read, Position::START, &out[..len], &mut back).unwrap();
        prop_assert!(back == raw);

        let alone = encoder.model(dtype, &shape, [&raw[..]]).unwrap();
        prop_assert_eq!(model.to_bytes(), alone.to_bytes());
        let mut other = Vec::new();
        encoder.encode_into(&alone, Position::START, &raw, &mut other).unwrap();
        prop_assert!(len <= other.len(), "{} instead of {}", len, other.len());
    }

    #[test]
    fn any_rows_that_are_predicted_come_back(
        dtype in proptest::sample::select(&DTYPES[4..]),
        rows in 70usize..400,
        columns in 8usize..90,
        per_chunk in 1usize..400,
        seed in any::<u64>(),
    ) {
        let raw = leaning(dtype, rows, columns, seed);
        through_rows(dtype, &raw, columns, per_chunk);
    }

    #[test]
    fn damaged_predictions_never_panic(
        rows in 70usize..300,
        columns in 8usize..40,
        seed in any::<u64>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let raw = leaning(Dtype::BF16, rows, columns, seed);
        let (model, chunks) = through_rows(Dtype::BF16, &raw, columns, rows);
        let (mut bytes, mut chunk) = (model.to_bytes(), chunks[0].clone());
        for (at, value) in edits {
            let model_len = bytes.len();
            match at.index(model_len + 200) {
                at if at < model_len => bytes[at] = value,
                at => chunk[at - model_len] = value,
            }
        }
        let model = Model::from_bytes(model.layout(), &bytes).unwrap_or(model);
        for len in [raw.len(), 2 * columns, raw.len() / 2 / columns * columns] {
            let (mut a, mut b) = (vec![0; len], vec![0xff; len]);
            let start = Position::START;
            let decoded = Decoder::new().decode(&model, start, &chunk, &mut a);
            prop_assert_eq!(decoded, Decoder::new().decode(&model, start, &chunk, &mut b));
            prop_assert!(decoded.is_err() || a == b);
        }
    }

    #[test]
    fn damaged_chunks_never_panic(
        dtype in proptest::sample::select(&DTYPES[..]),
        level in proptest::sample::select(&LEVELS[..]),
        elements in 1usize..6000,
        columns in 1u64..2000,
        seed in any::<u64>(),
        weights in any::<bool>(),
        edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in any::<proptest::sample::Index>(),
        other in 0usize..6000,
    ) {
        let layout = dtype.layout();
        let raw = if weights {
            weights_of(dtype, elements, columns, seed)
        } else {
            mixed(layout, elements, seed)
        };
        let model = model_of(dtype, level, columns, &raw);
        let mut encoded = encode(&model, &raw);
        for (at, value) in edits {
            let at = at % encoded.len().min(200);
            encoded[at] = value;
        }
        let _ = decode(&model, &encoded, raw.len());
        let _ = decode(&model, &encoded, other * layout.width());
        let _ = decode(&Model::plain(layout), &encoded, raw.len());
        encoded.truncate(cut.index(encoded.len()));
        prop_assert!(decode(&model, &encoded, raw.len()).is_err());
    }

    #[test]
    fn any_bytes_never_panic(
        layout in proptest::sample::select(&Layout::ALL[..]),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        elements in 0usize..3000,
    ) {
        if let Ok(model) = Model::from_bytes(layout, &bytes) {
            let again = Model::from_bytes(layout, &model.to_bytes()).unwrap();
            prop_assert!(again.to_bytes() == model.to_bytes(), "what is written is read");
        }
        if let Some(method) = bytes.first_mut() {
            *method = 1;
        }
        let _ = decode(&Model::plain(layout), &bytes, elements * layout.width());
        let _ = BlockDecoder::new().decode_into(&bytes, 1 << 20, &mut Vec::new());
    }
}
