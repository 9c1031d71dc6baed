//! Decodes any bytes as a chunk of differences under any model and any base, and takes versions of
//! any elements there and back.

use arbitrary::{Result, Unstructured};
use at1w_codec::{Decoder, DifferenceBuilder, Dtype, Encoder, Layout, Model, Position, Predictor};

use super::{LEVELS, data};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    if u.arbitrary()? { decode(u) } else { round_trip(u) }
}

fn decode(u: &mut Unstructured<'_>) -> Result<()> {
    let layout = *u.choose(&Layout::ALL)?;
    let base_len = usize::from(u.arbitrary::<u16>()?) % (u.len() + 1);
    let len = base_len / layout.width() * layout.width();
    let base = &u.bytes(base_len)?[..len];
    let model_len = usize::from(u.arbitrary::<u16>()?) % (u.len() + 1);
    // Most first bytes are of no model.
    let mut model = u.bytes(model_len)?.to_vec();
    if let (Some(first), true) = (model.first_mut(), u.arbitrary()?) {
        *first = 32;
    }
    let model = match Model::from_bytes(layout, &model) {
        Ok(read) => {
            let bytes = read.to_bytes();
            let again = Model::from_bytes(layout, &bytes).expect("what was read");
            assert_eq!(again.to_bytes(), bytes);
            read
        }
        Err(_) => Model::from_bytes(layout, &plain_differences(layout)).expect("a valid model"),
    };
    let mut encoded = u.bytes(u.len())?.to_vec();
    if let (Some(first), true) = (encoded.first_mut(), !len.is_multiple_of(3)) {
        *first = 5;
    }
    let (mut a, mut b) = (vec![0; len], vec![0xff; len]);
    let decoded = Decoder::new().decode_from(&model, Position::START, base, &encoded, &mut a);
    let again = Decoder::new().decode_from(&model, Position::START, base, &encoded, &mut b);
    assert_eq!(decoded, again);
    if decoded.is_ok() {
        assert_eq!(a, b);
    }
    Ok(())
}

/// A model of one class without tables.
fn plain_differences(layout: Layout) -> Vec<u8> {
    let mut model = vec![32, 0];
    model.resize(2 + layout.width(), 0);
    model
}

fn round_trip(u: &mut Unstructured<'_>) -> Result<()> {
    let dtype = *u.choose(&Dtype::ALL)?;
    let elements = 64 * u.int_in_range(1..=60)?;
    let base = data(u, dtype, elements)?;
    let mut raw = if u.arbitrary()? { data(u, dtype, elements)? } else { base.clone() };
    for _ in 0..u.int_in_range(0..=9)? {
        let place = u.arbitrary::<u16>()? as usize % raw.len();
        raw[place] = raw[place].wrapping_add(u.arbitrary()?);
    }
    if Predictor::between(Dtype::F32, dtype) == Some(Predictor::Rounding) {
        let wide = data(u, Dtype::F32, elements)?;
        Predictor::Rounding.predict(dtype, &wide, &mut raw);
    }
    let mut builder = DifferenceBuilder::new(dtype);
    builder.add(&base, &raw).expect("whole elements");
    let model = builder.build();
    let mut encoded = Vec::new();
    let start = Position::START;
    let level = *u.choose(&LEVELS)?;
    let len = Encoder::new(level).encode_from(&model, start, &base, &raw, &mut encoded);
    assert!(len.is_ok_and(|len| len <= Encoder::max_encoded_len(raw.len())));
    let model = Model::from_bytes(dtype.layout(), &model.to_bytes()).expect("what was made");
    let mut back = vec![7; raw.len()];
    let decoded = Decoder::new().decode_from(&model, start, &base, &encoded, &mut back);
    assert_eq!(decoded, Ok(()));
    assert!(back == raw);
    Ok(())
}
