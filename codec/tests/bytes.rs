//! Eight-bit weights and f16: finer statistics of bytes at every level and on every back-end, and
//! what hostile ones come to.

use at1w_codec::{Backend, DecodeError, Decoder, Dtype, Encoder, Layout, Level, Model, Position};
use proptest::prelude::*;

const LEVELS: [Level; 3] = [Level::Fast, Level::Default, Level::Max];
const DTYPES: [Dtype; 5] = [Dtype::I8, Dtype::U8, Dtype::F8E4M3, Dtype::F4, Dtype::F16];

/// Weights as they are quantised: rows and columns spread differently, some elements are far out.
fn quantised(dtype: Dtype, rows: usize, columns: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x >> 16
    };
    let mut raw = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            let width = (2 + row % 7 + 3 * (column % 5)) as i64;
            let sum = (0..4).map(|_| next() as i64 % (2 * width + 1) - width).sum::<i64>();
            let value = if next() % 500 == 0 { next() as i64 } else { sum };
            match dtype {
                Dtype::U8 => raw.push((value + 128) as u8),
                Dtype::F8E4M3 => {
                    let sign = if value < 0 { 0x80 } else { 0 };
                    raw.push(value.unsigned_abs() as u8 & 127 | sign);
                }
                Dtype::F16 => raw.extend((0x3000 ^ (value as u16) << 5).to_le_bytes()),
                _ => raw.push(value as u8),
            }
        }
    }
    raw
}

fn model(dtype: Dtype, level: Level, rows: usize, columns: usize, raw: &[u8]) -> Model {
    Model::of(dtype, level, &[rows as u64, columns as u64], [raw]).unwrap()
}

fn encode(model: &Model, position: Position, raw: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    Encoder::new(Level::Max).encode_into(model, position, raw, &mut encoded).unwrap();
    encoded
}

fn decode(
    backend: Backend,
    model: &Model,
    position: Position,
    encoded: &[u8],
    len: usize,
) -> Result<Vec<u8>, DecodeError> {
    let mut raw = vec![0x5a; len];
    let mut decoder = Decoder::new().with_backend(backend);
    decoder.decode(model, position, encoded, &mut raw).map(|()| raw)
}

#[test]
fn large_tensors_use_them_and_come_back() {
    for dtype in DTYPES {
        let raw = quantised(dtype, 500, 300, 1);
        for level in LEVELS {
            let model = model(dtype, level, 500, 300, &raw);
            let bytes = dtype != Dtype::F16;
            assert!(model.has_fine_bytes() || !bytes, "{dtype}, {level:?}: {model}");
            assert_eq!(model.to_string().contains("bytes"), bytes && level == Level::Max);
            let model = Model::from_bytes(dtype.layout(), &model.to_bytes()).unwrap();
            let encoded = encode(&model, Position::START, &raw);
            assert!(encoded.len() < raw.len() - raw.len() / 16, "{dtype}, {level:?}");
            for backend in Backend::available() {
                let back = decode(backend, &model, Position::START, &encoded, raw.len());
                assert!(back.as_ref() == Ok(&raw), "{dtype}, {level:?}, {backend}");
            }
        }
    }
}

#[test]
fn hostile_alias_tables_are_refused() {
    let bytes =
        |table: &[u8]| Model::from_bytes(Layout::BYTES, &[&[0, 3][..], table].concat()).map(|_| ());
    // Shift, turn and escape; the first value; the entries less one; frequencies but the last.
    assert_eq!(bytes(&[2, 0, 1, 5]), Ok(()));
    assert_eq!(
        bytes(&[
            0xc3, 31, 32, 0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        ]),
        Ok(())
    );
    let wrong: [&[u8]; 9] = [
        &[4, 0, 1, 5],
        &[0x12, 0, 1, 5],
        &[2, 64, 1, 5],
        &[2, 0, 0],
        &[2, 0, 64, 5],
        &[3, 0, 32, 5],
        &[2, 0, 1, 0x81, 0x20],
        &[2, 0, 1, 0x80, 0x20],
        &[2, 0, 1, 0],
    ];
    for table in wrong {
        assert_eq!(bytes(table), Err(DecodeError::LaneTable), "{table:x?}");
    }
    assert_eq!(bytes(&[2, 0, 1]), Err(DecodeError::Truncated));
    assert_eq!(bytes(&[2, 0, 1, 5, 0]), Err(DecodeError::TrailingBytes { extra: 1 }));
    assert_eq!(bytes(&[2, 0, 1, 0x80, 0]), Err(DecodeError::Varint));
}

#[test]
fn hostile_alias_streams_are_refused() {
    // Two values of two low bits each, half the slots each, without an escape.
    let model = Model::from_bytes(Layout::BYTES, &[0, 3, 2, 0, 1, 0x80, 0x10]).unwrap();
    let start = 65536_u32.to_le_bytes().repeat(64);
    let payload = |mode: u8, len: u16, low: &[u8], states: &[u8], units: &[u8]| {
        let len = [len as u8 | 0x80, (len >> 7) as u8];
        [&[1, mode][..], &len, low, states, units].concat()
    };
    let decode = |payload: &[u8]| decode(Backend::best(), &model, Position::START, payload, 1);
    // Slot 0x880 is number 0 of the first entry, which makes 2048 * 32 + 0, where lanes end.
    let step = |x: u32| [&x.to_le_bytes()[..], &start[4..]].concat();
    let good = payload(7, 258, &[3, 0], &step(0x20880), &[]);
    assert_eq!(decode(&good), Ok(vec![3]));
    let refused = |payload: &[u8]| decode(payload).unwrap_err();
    let unknown = DecodeError::UnknownMode { plane: 0, mode: 0x27 };
    assert_eq!(refused(&payload(0x27, 258, &[3, 0], &start, &[])), unknown);
    assert_eq!(refused(&payload(7, 258, &[7, 0], &step(0x20880), &[])), DecodeError::Packing);
    assert_eq!(refused(&payload(7, 258, &[3, 0], &step(0xffff), &[])), DecodeError::LaneState);
    assert_eq!(refused(&payload(7, 259, &[3, 0], &step(0x20880), &[0])), DecodeError::LaneEnd);
    assert_eq!(refused(&payload(7, 258, &[3, 0], &step(0x1f880), &[])), DecodeError::Truncated);
    assert_eq!(refused(&payload(7, 260, &[3, 0], &step(0x20880), &[0, 0])), DecodeError::LaneEnd);
    assert_eq!(refused(&good[..good.len() - 1]), DecodeError::Truncated);
    let plain = Model::plain(Layout::BYTES);
    let missing = Decoder::new().decode(&plain, Position::START, &good, &mut [0]);
    assert_eq!(missing, Err(DecodeError::NoTable { plane: 0 }));
}

/// A model of byte contexts: rows of 4, columns of 2, and what follows.
fn contexts(rest: &[u8]) -> Result<Model, DecodeError> {
    Model::from_bytes(Layout::BYTES, &[&[16, 4, 2][..], rest].concat())
}

#[test]
fn hostile_byte_contexts_are_refused() {
    // All symbols have the level 1, as a raw plane of differences.
    let plane = |contexts: usize| {
        let levels = [&[2][..], &[0; 255]].concat().repeat(contexts);
        [&[0][..], &levels].concat()
    };
    let model = |head: &[u8], contexts_stored: usize| {
        contexts(&[head, &plane(contexts_stored)].concat()).map(|_| ())
    };
    // Classes of rows and columns; the escape; the mirror; classes of columns, a raw plane.
    assert_eq!(model(&[0, 9, 0], 1), Ok(()));
    assert_eq!(model(&[0x13, 9, 0, 0, 0, 1], 8), Ok(()));
    for head in [&[0x1f, 9, 0][..], &[0, 9, 3], &[0x10, 9, 0, 0, 0, 2]] {
        assert_eq!(model(head, 1), Err(DecodeError::Contexts), "{head:x?}");
    }
    assert_eq!(model(&[1, 9, 0], 1), Err(DecodeError::Truncated), "levels of one context");
    assert_eq!(model(&[0, 9, 0], 2), Err(DecodeError::TrailingBytes { extra: 256 }));
    // No symbol has slots; one has all; a level beyond the last one.
    let constant = |value: u8| contexts(&[0, 9, 1, 1, value]).map(|_| ());
    assert_eq!(constant(0), Err(DecodeError::Contexts));
    assert_eq!(constant(2), Err(DecodeError::Contexts));
    assert_eq!(constant(1), Err(DecodeError::Contexts));
    for lens in [&[16, 0, 2][..], &[16, 4, 0], &[16, 0x81, 0x80, 0x10, 2]] {
        let bytes = [lens, &[0, 9, 0], &plane(1)].concat();
        let read = Model::from_bytes(Layout::BYTES, &bytes).map(|_| ());
        assert_eq!(read, Err(DecodeError::Contexts), "{lens:x?}");
    }
    let floats =
        Model::from_bytes(Layout::FLOAT16, &[&[16, 4, 2, 0, 9, 0][..], &plane(1)].concat());
    assert_eq!(floats.map(|_| ()), Err(DecodeError::UnknownModel(16)));
    let plain = Model::plain(Layout::BYTES);
    let missing = Decoder::new().decode(&plain, Position::START, &[6, 0, 0], &mut [0]);
    assert_eq!(missing, Err(DecodeError::NoContexts));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_part_of_a_tensor_comes_back(
        dtype in proptest::sample::select(&DTYPES[..]),
        level in proptest::sample::select(&LEVELS[..]),
        rows in 1usize..300,
        columns in 1usize..400,
        cut in any::<proptest::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let raw = quantised(dtype, rows, columns, seed);
        let model = model(dtype, level, rows, columns, &raw);
        let width = dtype.layout().width();
        let cut = cut.index(raw.len() / width + 1) * width;
        for (start, part) in [(0, &raw[..cut]), (cut, &raw[cut..]), (cut / 3, &raw[cut..])] {
            let position = Position::after_elements((start / width) as u64);
            let encoded = encode(&model, position, part);
            for backend in Backend::available() {
                let back = decode(backend, &model, position, &encoded, part.len());
                prop_assert!(back.as_deref() == Ok(part), "{}", backend);
            }
        }
    }

    #[test]
    fn damage_never_panics_and_is_the_same_everywhere(
        dtype in proptest::sample::select(&DTYPES[..]),
        level in proptest::sample::select(&LEVELS[..]),
        seed in any::<u64>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (rows, columns) = (90, 200);
        let raw = quantised(dtype, rows, columns, seed);
        let model = model(dtype, level, rows, columns, &raw);
        let mut encoded = encode(&model, Position::START, &raw);
        let mut bytes = model.to_bytes();
        for (at, byte) in &edits {
            let at = at.index(encoded.len() + bytes.len());
            match at.checked_sub(encoded.len()) {
                Some(at) => bytes[at] = *byte,
                None => encoded[at] = *byte,
            }
        }
        if let Ok(model) = Model::from_bytes(dtype.layout(), &bytes) {
            let decode = |backend| decode(backend, &model, Position::START, &encoded, raw.len());
            let expected = decode(Backend::SCALAR);
            for backend in Backend::available() {
                let decoded = decode(backend);
                prop_assert_eq!(decoded.is_ok(), expected.is_ok());
                prop_assert!(decoded.is_err() || decoded == expected);
            }
        }
    }
}
