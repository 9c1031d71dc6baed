//! Decodes any bytes as a chunk under any model, twice into memory of different content. A byte
//! that is not written would show.

use arbitrary::{Result, Unstructured};
use at1w_codec::block::BlockDecoder;
use at1w_codec::{Decoder, Layout, Model, Position};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let layout = *u.choose(&Layout::ALL)?;
    let len = usize::from(u.arbitrary::<u16>()?) % 8192 * layout.width();
    // As far as any tensor reaches.
    let position = Position::after_elements(u.arbitrary::<u64>()? >> 1);
    let model_len = usize::from(u.arbitrary::<u16>()?) % (u.len() + 1);
    let model = u.bytes(model_len)?;
    let model = match Model::from_bytes(layout, model) {
        Ok(read) => {
            // The chunk may code its planes in other ways than our encoder.
            let bytes = read.to_bytes();
            let again = Model::from_bytes(layout, &bytes).expect("what was read");
            assert_eq!(again.to_bytes(), bytes);
            read
        }
        Err(_) => Model::plain(layout),
    };
    let encoded = u.bytes(u.len())?;
    let (mut a, mut b) = (vec![0; len], vec![0xff; len]);
    let decoded = Decoder::new().decode(&model, position, encoded, &mut a);
    assert_eq!(decoded, Decoder::new().decode(&model, position, encoded, &mut b));
    if decoded.is_ok() {
        assert_eq!(a, b);
    }
    for mut blocks in [BlockDecoder::new(), BlockDecoder::checked()] {
        let mut raw = vec![0x55; 3];
        let decoded = blocks.decode_into(encoded, 1 << 20, &mut raw);
        assert!(raw.starts_with(&[0x55; 3]) && (decoded.is_ok() || raw.len() == 3));
    }
    Ok(())
}
