//! Decodes any bytes as a chunk under any model, twice into memory of different content: what is not
//! written would show.

use arbitrary::{Result, Unstructured};
use at1w_codec::{Decoder, Layout, Model, block};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let layout = *u.choose(&Layout::ALL)?;
    let len = usize::from(u.arbitrary::<u16>()?) % 8192 * layout.width();
    // As far as any tensor reaches.
    let position = u.arbitrary::<u64>()? >> 1;
    let model_len = usize::from(u.arbitrary::<u16>()?) % (u.len() + 1);
    let model = u.bytes(model_len)?;
    let model = match Model::from_bytes(layout, model) {
        Ok(read) => {
            // Planes in it may be coded in other ways than ours.
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
    let _ = block::raw_len(encoded);
    Ok(())
}
