//! Small packed files of every kind, for tests that damage them.

use std::sync::OnceLock;

use at1w_codec::Dtype;
use at1w_container::{Level, Result};

use crate::versions::{SMALL, small_bases, version};
use crate::{Random, Tensor, open, packed_at, quantised, safetensors, small, weights};

/// A small file, to be packed.
pub struct SmallFile {
    /// The kind of the file.
    pub name: &'static str,
    level: Level,
    original: fn() -> Vec<u8>,
}

/// Makes one file of every kind.
pub const FILES: [SmallFile; 8] = [
    SmallFile { name: "default", level: Level::Default, original: small },
    SmallFile { name: "fast", level: Level::Fast, original: small },
    SmallFile { name: "contexts", level: Level::Max, original: || leaning(1) },
    SmallFile { name: "prediction", level: Level::Max, original: || leaning(2) },
    SmallFile { name: "alias lanes", level: Level::Default, original: || bytes(false, 400) },
    SmallFile { name: "byte contexts", level: Level::Max, original: || bytes(true, 150) },
    SmallFile { name: "chunks, shared", level: Level::Default, original: chunks },
    SmallFile { name: "versions", level: Level::Default, original: || version(1, SMALL) },
];

impl SmallFile {
    /// Packs the file.
    pub fn packed(&self) -> Vec<u8> {
        let original = (self.original)();
        match self.name {
            "versions" => small_bases().packed(self.level, &original),
            _ => packed_at(self.level, &original),
        }
        .expect("a valid file")
    }
}

/// Makes a matrix whose columns have means of their own, or follow from earlier columns.
fn leaning(kind: u64) -> Vec<u8> {
    let (rows, columns) = (if kind == 1 { 200 } else { 400 }, 12);
    let mut random = Random::new(kind);
    let mut data = Vec::new();
    for _ in 0..rows {
        let mut last = 0.0;
        for column in 0..columns {
            let mean = (column as f32 - 6.0) / 2.0;
            let value = random.normal();
            last = if kind == 1 { mean + value / 4.0 } else { 0.95 * last + value / 4.0 };
            let bits: f32 = if kind == 2 && column == 0 { value } else { last };
            last = bits;
            data.extend(((bits.to_bits() >> 16) as u16).to_le_bytes());
        }
    }
    safetensors(&[Tensor::new("w", Dtype::BF16, &[rows, columns as u64], data)])
}

/// Makes a matrix of 8-bit weights.
fn bytes(sparse: bool, columns: usize) -> Vec<u8> {
    let data = quantised(false, sparse, 80, columns, &mut Random::new(7));
    safetensors(&[Tensor::new("w", Dtype::I8, &[80, columns as u64], data)])
}

/// Makes a tensor of several small chunks, twice, and a tensor without bytes.
fn chunks() -> Vec<u8> {
    let mut data = vec![7u8; 1_100_000];
    data[600_000..600_100].copy_from_slice(&Random::new(6).bytes(100));
    let tensor = Tensor::new("chunks", Dtype::U8, &[1100, 1000], data);
    let twin = Tensor { name: "twin".into(), ..tensor.clone() };
    safetensors(&[tensor, twin, Tensor::new("empty", Dtype::F32, &[0, 3], vec![])])
}

/// Makes two files with the same header. Where their tensors are stored as they are, the lengths
/// are the same too.
pub fn pair() -> &'static [Vec<u8>; 2] {
    static PAIR: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    PAIR.get_or_init(|| {
        [1, 2].map(|seed| {
            let mut random = Random::new(seed);
            let original = safetensors(&[
                Tensor::new("bytes", Dtype::U8, &[300], random.bytes(300)),
                Tensor::new(
                    "words",
                    Dtype::BF16,
                    &[20, 30],
                    weights(Dtype::BF16, 600, &mut random),
                ),
                Tensor::new("more", Dtype::U8, &[200], random.bytes(200)),
                Tensor::new("constant", Dtype::F32, &[50], vec![seed as u8; 200]),
            ]);
            packed_at(Level::Default, &original).expect("a valid file")
        })
    })
}

/// Reads the raw bytes of all tensors of a packed file.
///
/// # Errors
/// The errors of reading.
pub fn tensors(packed: &[u8]) -> Result<Vec<Vec<u8>>> {
    open(packed)?.tensors().map(|tensor| tensor.read_to_vec()).collect()
}
