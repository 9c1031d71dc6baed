//! Reads slices of every tensor of a packed file, and byte ranges of the whole, and compares them
//! with the original: `ranges ORIGINAL PACKED`. For `ci/corpus`.

use at1w_container::{Index, Reader, Slice};
use at1w_tests::Random;

/// Slices of each tensor, and byte ranges of each file.
const SLICES: usize = 4;
const RANGES: usize = 40;

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [original, packed] = &paths[..] else { panic!("ranges ORIGINAL PACKED") };
    let original = std::fs::read(original).expect("a readable file");
    let reader = Reader::open(packed.as_ref()).expect("an .at1w file");
    let (header, file) =
        safetensors::SafeTensors::read_metadata(&original).expect("a safetensors file");
    let data = &original[8 + header..];
    let mut random = Random::new(1);

    for (name, info) in file.tensors() {
        let raw = &data[info.data_offsets.0..info.data_offsets.1];
        let tensor = reader.tensor(&name).expect("the same tensors");
        let rows = info.shape.first().map_or(0, |&rows| rows as u64);
        if raw.is_empty() || rows == 0 {
            continue;
        }
        let row = raw.len() / rows as usize;
        for _ in 0..SLICES {
            let start = random.bits() % rows;
            let end = start + random.bits() % (rows - start + 1).min(100);
            let slice = Slice(vec![Index::Range(Some(start as i64), Some(end as i64))]);
            let (_, read) = tensor.read_slice(&slice).expect("an intact file");
            assert!(read == raw[start as usize * row..end as usize * row], "{name} {slice:?}");
        }
    }
    for _ in 0..RANGES {
        let start = random.bits() % original.len() as u64;
        let end = start + random.bits() % (original.len() as u64 - start + 1).min(2 << 20);
        let read = reader.read_original(start..end).expect("an intact file");
        assert!(read == original[start as usize..end as usize], "bytes {start} to {end}");
    }
}
