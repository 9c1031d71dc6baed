//! Encodes a chunk with a model that was made for another chunk, another shape, or any statistics.
//! Checks that the chunk comes back all the same.

use arbitrary::{Result, Unstructured};
use at1w_codec::{Decoder, Dtype, Encoder, Model, Position};

use super::{LEVELS, data};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let dtype = *u.choose(&Dtype::ALL)?;
    let width = dtype.layout().width();
    let (level, other_level) = (*u.choose(&LEVELS)?, *u.choose(&LEVELS)?);
    let shape: Vec<u64> = match u.arbitrary()? {
        true => u.arbitrary()?,
        false => vec![u.int_in_range(1..=200)?, u.int_in_range(1..=200)?],
    };
    let position = u.arbitrary::<u64>()? >> 1;
    let chunk = |u: &mut Unstructured<'_>| -> Result<Vec<u8>> {
        let elements = u.arbitrary::<u16>()? as usize % 5000;
        let mut chunk = data(u, dtype, elements)?;
        chunk.truncate(chunk.len() / width * width);
        Ok(chunk)
    };
    let seen = chunk(u)?;
    let raw = if u.ratio(1, 4)? { seen.clone() } else { chunk(u)? };
    let model = Model::of(dtype, level, &shape, [&seen[..]]).expect("whole elements");
    let bytes = model.to_bytes();
    let model = Model::from_bytes(dtype.layout(), &bytes).expect("what was written");
    assert_eq!(model.to_bytes(), bytes);

    let position = Position::after_elements(position);
    let mut out = vec![0; Encoder::max_encoded_len(raw.len())];
    let len = Encoder::new(other_level).encode(&model, position, &raw, &mut out);
    let len = len.expect("room enough");
    let mut back = vec![0x55; raw.len()];
    Decoder::new().decode(&model, position, &out[..len], &mut back).expect("what was encoded");
    assert!(back == raw);
    Ok(())
}
