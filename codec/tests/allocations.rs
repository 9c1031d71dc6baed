//! Encoders and decoders that have seen a chunk allocate nothing for another one like it.

use allocation_counter::measure;
use at1w_codec::block::{BlockDecoder, BlockEncoder};
use at1w_codec::{Decoder, Dtype, Encoder, Level, Model, Position};

/// Floats of every kind that the coders treat differently.
fn tensors() -> Vec<(&'static str, Dtype, Vec<u8>)> {
    let mut state = 7_u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24) - 0.5
    };
    let weights: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|i| (noise() * noise() * (1 + i % COLUMNS % 7) as f64 / 50.0) as f32)
        .collect();
    let mut last = 0.0;
    let leaning: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|i| {
            last = if i % COLUMNS == 0 { 0.0 } else { 0.95 * last } + noise();
            last as f32
        })
        .collect();
    let repeated: Vec<f32> = weights.iter().cycle().take(100).copied().collect();
    let repeated = repeated.iter().cycle().take(ROWS * COLUMNS).copied();
    let bf16 = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect()
    };
    let f32s =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let text = b"It was the best of times, it was the worst of times. ";
    let packed = (0..ROWS * COLUMNS).map(|i| if i % 300 == 7 { 0x93 } else { (i * i % 13) as u8 });
    vec![
        ("weights", Dtype::BF16, bf16(&weights)),
        ("weights", Dtype::F32, f32s(&weights)),
        ("leaning", Dtype::BF16, bf16(&leaning)),
        ("repeated", Dtype::F32, f32s(&repeated.collect::<Vec<_>>())),
        ("text", Dtype::U8, text.iter().cycle().take(ROWS * COLUMNS).copied().collect()),
        ("packed", Dtype::U8, packed.collect()),
        ("few", Dtype::I16, (0..900).map(|i| (i % 5) as u8).collect()),
    ]
}

const ROWS: usize = 600;
const COLUMNS: usize = 64;

#[test]
fn chunks_need_no_memory_once_one_was_seen() {
    for (name, dtype, raw) in tensors() {
        for level in [Level::Fast, Level::Default, Level::Max] {
            let shape = [(raw.len() / dtype.layout().width() / COLUMNS) as u64, COLUMNS as u64];
            let (mut encoder, mut decoder) = (Encoder::new(level), Decoder::new());
            let own = encoder.model(dtype, &shape, [&raw[..]]).unwrap();
            for model in [own, Model::plain(dtype.layout())] {
                let mut encoded = vec![0; Encoder::max_encoded_len(raw.len())];
                let mut back = vec![0; raw.len()];
                let mut through = || {
                    let start = Position::START;
                    let len = encoder.encode(&model, start, &raw, &mut encoded).unwrap();
                    decoder.decode(&model, start, &encoded[..len], &mut back).unwrap();
                };
                through();
                let count = measure(through).count_total;
                assert_eq!(count, 0, "{name} {dtype} {level:?}, {model}");
                assert!(back == raw);
            }
        }
    }
}

#[test]
fn blocks_need_no_memory_once_one_was_seen() {
    for (name, dtype, raw) in tensors() {
        for level in [Level::Fast, Level::Default] {
            let (mut encoder, mut decoder) =
                (BlockEncoder::checked(level), BlockDecoder::checked());
            let (mut block, mut back, mut page) = (Vec::new(), Vec::new(), [0; 64]);
            let mut through = || {
                block.clear();
                back.clear();
                encoder.encode_into(dtype, &raw, &mut block).unwrap();
                encoder.encode_if_fits(dtype, &raw, &mut page).unwrap();
                decoder.decode_into(&block, raw.len(), &mut back).unwrap();
            };
            through();
            assert_eq!(measure(&mut through).count_total, 0, "{name} {dtype} {level:?}");
            assert!(back == raw);
        }
    }
}
