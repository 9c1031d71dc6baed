//! Weights to measure with.

use std::fs;
use std::path::PathBuf;

use at1w_codec::{Dtype, Encoder, Level, Model, Position};
use at1w_tests::Random;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// The raw bytes of a chunk.
pub const CHUNK_LEN: usize = 512 << 10;

/// The least number of bytes to measure: more than any cache near a core holds.
const ENOUGH: usize = 64 << 20;

/// An encoded chunk.
pub struct Chunk {
    /// The index of its tensor.
    pub tensor: usize,
    /// Its first element.
    pub position: Position,
    /// The number of its raw bytes.
    pub raw_len: usize,
    /// Its encoded bytes.
    pub encoded: Vec<u8>,
}

/// Tensors of one dtype.
pub struct Weights {
    /// The name of their source.
    pub name: String,
    /// The dtype of all tensors.
    pub dtype: Dtype,
    /// The bytes of each tensor.
    pub tensors: Vec<Vec<u8>>,
    /// The shape of each tensor.
    pub shapes: Vec<Vec<u64>>,
    /// The level to code them at.
    pub level: Level,
}

impl Weights {
    /// Returns the tensors of a file of the corpus that have this dtype and more than a few
    /// elements, repeated until there are 64 MiB, for level fast.
    ///
    /// # Panics
    /// When the file is not there: `scripts/corpus.sh` makes it.
    pub fn corpus(name: &str, dtype: Dtype) -> Self {
        let weights = Self::read(name, Some(dtype), Level::Fast);
        weights.unwrap_or_else(|| panic!("{name} has no large {} tensor", dtype.name()))
    }

    /// Returns the same weights, for another level.
    pub fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Returns weights as [`Weights::corpus`] does, of the dtype that has most bytes of the file;
    /// `None` if the file has no large tensors of weights.
    ///
    /// # Panics
    /// As [`Weights::corpus`].
    pub fn large(name: &str, level: Level) -> Option<Self> {
        Self::read(name, None, level)
    }

    fn read(name: &str, dtype: Option<Dtype>, level: Level) -> Option<Self> {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../corpus", name].iter().collect();
        let file = fs::read(&path)
            .unwrap_or_else(|e| panic!("{}: {e}: run scripts/corpus.sh first", path.display()));
        let file = SafeTensors::deserialize(&file).expect("a safetensors file");
        let of = |view: &TensorView<'_>| Dtype::from_name(&format!("{:?}", view.dtype()));
        let mut views: Vec<_> =
            file.iter().map(|(_, t)| t).filter(|t| t.data().len() > 1 << 16).collect();
        let bytes = |dtype: Dtype| -> usize {
            views.iter().filter(|t| of(t) == Some(dtype)).map(|t| t.data().len()).sum()
        };
        let weights = [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::I8, Dtype::U8, Dtype::F8E4M3];
        let dtype = match dtype {
            Some(dtype) => dtype,
            None => weights.into_iter().max_by_key(|&dtype| bytes(dtype))?,
        };
        views.retain(|view| of(view) == Some(dtype));
        // Restores the order of the file: the iterator's order changes with each run.
        views.sort_by_key(|view| view.data().as_ptr());
        let len = views.iter().map(|view| view.data().len()).sum::<usize>();
        if len == 0 {
            return None;
        }
        let again = || (0..ENOUGH.div_ceil(len)).flat_map(|_| &views);
        let shape = |view: &TensorView<'_>| view.shape().iter().map(|&dim| dim as u64).collect();
        let shapes = again().map(shape).collect();
        let tensors = again().map(|view| view.data().to_vec()).collect();
        Some(Self { name: name.into(), dtype, tensors, shapes, level })
    }

    /// Returns bf16 weights from a Gaussian whose scale differs from row to row.
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
        Self {
            name: "gaussian rows".into(),
            dtype: Dtype::BF16,
            tensors: vec![raw],
            shapes: vec![vec![rows as u64, columns as u64]],
            level: Level::Fast,
        }
    }

    /// Returns weights of 16 bits that follow from these by a step of a training: of ten words six
    /// have moved by the least, up or down.
    ///
    /// # Panics
    /// For weights of another width.
    pub fn trained(&self) -> Self {
        assert_eq!(self.dtype.layout().width(), 2, "words of 16 bits");
        let mut random = Random::new(2);
        let mut step = |word: &[u8; 2]| {
            let moves = random.bits() % 10 < 6;
            (u16::from_le_bytes(*word) ^ u16::from(moves)).to_le_bytes()
        };
        let moved = |raw: &Vec<u8>| raw.as_chunks().0.iter().flat_map(&mut step).collect();
        let tensors = self.tensors.iter().map(moved).collect();
        Self {
            name: format!("{}, trained", self.name),
            tensors,
            shapes: self.shapes.clone(),
            ..*self
        }
    }

    /// Returns the high bytes of the words of these weights, rotated as in planes. They form a
    /// plane of bytes that uses the whole alphabet.
    pub fn high_bytes(&self) -> Self {
        let high = |word: &[u8; 2]| (u16::from_le_bytes(*word).rotate_left(1) >> 8) as u8;
        let plane = |raw: &Vec<u8>| raw.as_chunks().0.iter().map(high).collect();
        let tensors = self.tensors.iter().map(plane).collect();
        let name = format!("{}, high bytes", self.name);
        Self { name, dtype: Dtype::U8, tensors, shapes: self.shapes.clone(), level: self.level }
    }

    /// Returns the first `len` bytes of the weights.
    pub fn head(&self, len: usize) -> Self {
        let mut left = len;
        let cut = |raw: &Vec<u8>| {
            let (taken, _) = raw.split_at(left.min(raw.len()));
            left -= taken.len();
            taken.to_vec()
        };
        let tensors = self.tensors.iter().map(cut).take_while(|raw| !raw.is_empty()).collect();
        Self { name: self.name.clone(), tensors, shapes: self.shapes.clone(), ..*self }
    }

    /// Returns all bytes in a row.
    pub fn bytes(&self) -> Vec<u8> {
        self.tensors.concat()
    }

    /// Makes the model of each tensor.
    pub fn models(&self) -> Vec<Model> {
        let model = |(raw, shape): (&Vec<u8>, &Vec<u64>)| {
            Model::of(self.dtype, self.level, shape, raw.chunks(CHUNK_LEN)).expect("whole elements")
        };
        self.tensors.iter().zip(&self.shapes).map(model).collect()
    }

    /// Returns the position at which each chunk of a tensor begins.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        let layout = self.dtype.layout();
        (0..).map(move |number| Position::of_chunk(number, CHUNK_LEN, layout))
    }

    /// Encodes all chunks.
    pub fn chunks(&self, models: &[Model]) -> Vec<Chunk> {
        let mut encoder = Encoder::new(self.level);
        let mut out = vec![0; Encoder::max_encoded_len(CHUNK_LEN)];
        let mut chunks = Vec::new();
        for (i, raw) in self.tensors.iter().enumerate() {
            for (chunk, position) in raw.chunks(CHUNK_LEN).zip(self.positions()) {
                let len = encoder.encode(&models[i], position, chunk, &mut out).expect("room");
                let encoded = out[..len].to_vec();
                chunks.push(Chunk { tensor: i, position, raw_len: chunk.len(), encoded });
            }
        }
        chunks
    }
}
