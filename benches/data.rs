//! Weights to measure with.

use std::fs;
use std::path::PathBuf;

use at1w_codec::{Dtype, Encoder, Model, ModelBuilder, max_encoded_len};
use at1w_tests::Random;
use safetensors::SafeTensors;

/// Raw bytes of a chunk.
pub const CHUNK_LEN: usize = 512 << 10;

/// The least that is measured: more than any cache near a core holds.
const ENOUGH: usize = 64 << 20;

/// Tensors of one dtype.
pub struct Weights {
    /// Where they are from.
    pub name: String,
    /// Of all of them.
    pub dtype: Dtype,
    /// Their bytes.
    pub tensors: Vec<Vec<u8>>,
}

impl Weights {
    /// The tensors of a file of the corpus that have this dtype and more than a few elements,
    /// again and again until there are 64 MiB.
    ///
    /// # Panics
    /// When the file is not there: `scripts/corpus.sh` makes it.
    pub fn corpus(name: &str, dtype: Dtype) -> Self {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../corpus", name].iter().collect();
        let file = fs::read(&path)
            .unwrap_or_else(|e| panic!("{}: {e}: run scripts/corpus.sh first", path.display()));
        let file = SafeTensors::deserialize(&file).expect("a safetensors file");
        let mut views: Vec<&[u8]> = file
            .iter()
            .filter(|(_, t)| format!("{:?}", t.dtype()) == dtype.name() && t.data().len() > 1 << 16)
            .map(|(_, t)| t.data())
            .collect();
        // As they lie in the file: the iterator's order is another in each run.
        views.sort_by_key(|data| data.as_ptr());
        let mut tensors: Vec<Vec<u8>> = views.into_iter().map(<[u8]>::to_vec).collect();
        assert!(!tensors.is_empty(), "{name} has no large {} tensor", dtype.name());
        let len = tensors.iter().map(Vec::len).sum::<usize>();
        let again = ENOUGH.div_ceil(len) - 1;
        let once = tensors.clone();
        (0..again).for_each(|_| tensors.extend(once.iter().cloned()));
        Self { name: name.into(), dtype, tensors }
    }

    /// bf16 from a Gaussian whose scale differs from row to row.
    pub fn gaussian() -> Self {
        let (rows, columns) = (4096, 8192);
        let mut random = Random::new(1);
        let mut raw = Vec::with_capacity(2 * rows * columns);
        for _ in 0..rows {
            let scale = 0.02 * (1.0 + random.normal().abs());
            for _ in 0..columns {
                let value = random.normal() * scale;
                raw.extend_from_slice(&value.to_bits().to_le_bytes()[2..]);
            }
        }
        Self { name: "gaussian rows".into(), dtype: Dtype::BF16, tensors: vec![raw] }
    }

    /// The high bytes of the words of these weights, rotated as planes are: a plane that uses the
    /// whole alphabet, as bytes.
    pub fn high_bytes(&self) -> Self {
        let high = |word: &[u8; 2]| (u16::from_le_bytes(*word).rotate_left(1) >> 8) as u8;
        let plane = |raw: &Vec<u8>| raw.as_chunks().0.iter().map(high).collect();
        let tensors = self.tensors.iter().map(plane).collect();
        Self { name: format!("{}, high bytes", self.name), dtype: Dtype::U8, tensors }
    }

    /// All bytes in a row.
    pub fn bytes(&self) -> Vec<u8> {
        self.tensors.concat()
    }

    /// The model of each tensor.
    pub fn models(&self) -> Vec<Model> {
        let mut builder = ModelBuilder::new(self.dtype.layout());
        let model = |raw: &Vec<u8>| {
            builder.reset(self.dtype.layout());
            raw.chunks(CHUNK_LEN).for_each(|chunk| builder.add(chunk).expect("whole elements"));
            builder.build()
        };
        self.tensors.iter().map(model).collect()
    }

    /// All chunks, encoded, with the index of their tensor and their length.
    pub fn chunks(&self, models: &[Model]) -> Vec<(usize, usize, Vec<u8>)> {
        let mut encoder = Encoder::new();
        let mut out = vec![0; max_encoded_len(CHUNK_LEN)];
        let mut chunks = Vec::new();
        for (i, raw) in self.tensors.iter().enumerate() {
            for chunk in raw.chunks(CHUNK_LEN) {
                let len = encoder.encode(&models[i], chunk, &mut out).expect("room");
                chunks.push((i, chunk.len(), out[..len].to_vec()));
            }
        }
        chunks
    }
}
