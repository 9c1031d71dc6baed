//! Decodes arbitrary bytes as a chunk under an arbitrary model, twice into memory of different
//! content: what is not written would show.

#![no_main]

use at1w_codec::{Decoder, Encoder, Layout, Model, block, max_encoded_len};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u16, u64, Vec<u8>, Vec<u8>)| {
    let (layout, elements, position, model, encoded) = input;
    // As far as any tensor reaches.
    let position = position >> 1;
    let layout = Layout::ALL[usize::from(layout) % Layout::ALL.len()];
    let len = usize::from(elements) * layout.width();
    let model = match Model::from_bytes(layout, &model) {
        Ok(read) => {
            // Planes in it may be coded in other ways than ours.
            let bytes = read.to_bytes();
            let again = Model::from_bytes(layout, &bytes).expect("what was read");
            assert_eq!(again.to_bytes(), bytes);
            read
        }
        Err(_) => Model::plain(layout),
    };
    let (mut a, mut b) = (vec![0; len], vec![0xff; len]);
    let decoded = Decoder::new().decode(&model, position, &encoded, &mut a);
    assert_eq!(decoded, Decoder::new().decode(&model, position, &encoded, &mut b));
    if decoded.is_ok() {
        assert_eq!(a, b);
    }
    // The input as a chunk, whatever the model was made for.
    let raw = &encoded[..encoded.len() / layout.width() * layout.width()];
    let mut out = vec![0; max_encoded_len(raw.len())];
    let len = Encoder::default()
        .encode(&model, position, raw, &mut out)
        .expect("whole elements, room enough");
    let mut back = vec![0; raw.len()];
    Decoder::new().decode(&model, position, &out[..len], &mut back).expect("what was encoded");
    assert_eq!(back, raw);
    let _ = block::raw_len(&encoded);
});
