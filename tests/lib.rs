//! Inputs that several tests share.

pub mod files;
pub mod fuzzing;
pub mod sweep;
pub mod versions;

use at1w_codec::Dtype;
use at1w_container::{Index, Level, OpenOptions, PackOptions, Reader, Result, pack};

/// A tensor of a test file.
#[derive(Clone)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dtype, as the header spells it.
    pub dtype: String,
    /// Its shape, in elements.
    pub shape: Vec<u64>,
    /// Its raw bytes.
    pub data: Vec<u8>,
}

impl Tensor {
    /// Makes a tensor of a known dtype.
    pub fn new(name: &str, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Self {
        Self { name: name.into(), dtype: dtype.name().into(), shape: shape.into(), data }
    }
}

/// Makes a safetensors file of these tensors, in their order.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = String::from("{\"__metadata__\":{\"format\":\"pt\"}");
    let mut end = 0;
    for t in tensors {
        let start = end;
        end += t.data.len();
        let name = serde_json::to_string(&t.name).expect("names are strings");
        header += &format!(
            ",{name}:{{\"dtype\":\"{}\",\"shape\":{:?},\"data_offsets\":[{start},{end}]}}",
            t.dtype, t.shape
        );
    }
    header += "}";
    let data: Vec<u8> = tensors.iter().flat_map(|t| t.data.iter().copied()).collect();
    with_header(&header, &data)
}

/// Makes a matrix of bytes as quantised weights have them, with a sign bit or in two's complement:
/// three of four 0, and rows and columns that spread differently, or all values equally often.
pub fn quantised(
    sign: bool,
    sparse: bool,
    rows: usize,
    columns: usize,
    random: &mut Random,
) -> Vec<u8> {
    let element = |i: usize| {
        let width = ((1 + i % columns % 3) << (i / columns % 4)) as f32;
        let value = match random.bits() {
            bits if !sparse => (bits % 91) as i8 - 45,
            bits if bits % 4 > 0 => 0,
            _ => (random.normal() * width * 4.0) as i8,
        };
        match sign && value < 0 {
            true => value.unsigned_abs() | 0x80,
            false => value as u8,
        }
    };
    (0..rows * columns).map(element).collect()
}

/// Makes a safetensors file of weights of 8 bits and of F16.
pub fn quantised_file() -> Vec<u8> {
    let mut random = Random::new(5);
    let tensor = |dtype: Dtype, columns: usize, random: &mut Random| {
        let data = match dtype {
            Dtype::F16 => weights(dtype, 100 * columns, random),
            _ => quantised(dtype == Dtype::F8E4M3, dtype == Dtype::U8, 100, columns, random),
        };
        Tensor::new(dtype.name(), dtype, &[100, columns as u64], data)
    };
    safetensors(&[
        tensor(Dtype::I8, 300, &mut random),
        tensor(Dtype::U8, 200, &mut random),
        tensor(Dtype::F8E4M3, 300, &mut random),
        tensor(Dtype::F16, 200, &mut random),
    ])
}

/// Makes a file of this header and this data.
pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// Packs a file in memory.
pub fn packed(original: &[u8]) -> Result<Vec<u8>> {
    packed_at(Level::default(), original)
}

/// Packs a file in memory at a level.
pub fn packed_at(level: Level, original: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    pack(&original.to_vec(), &mut out, &PackOptions::new().level(level))?;
    Ok(out)
}

/// Opens a packed file in memory. The bases of small versions are found.
pub fn open(packed: &[u8]) -> Result<Reader> {
    let reader = Reader::new(Box::new(packed.to_vec()), &OpenOptions::new())?;
    let alone = reader.base_models().len() == 0;
    Ok(if alone { reader } else { reader.with_bases(versions::small_bases()) })
}

/// Restores a packed file in memory.
pub fn restored(packed: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    open(packed)?.restore(&mut out, &())?;
    Ok(out)
}

/// A small generator of reproducible numbers (Marsaglia's xorshift64).
pub struct Random(u64);

impl Random {
    /// Makes a generator; the same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns the next number of about a normal distribution. Uses only sums and products of
    /// integers, so that the number is the same everywhere.
    pub fn normal(&mut self) -> f32 {
        let sum: i64 = (0..12).map(|_| (self.bits() >> 40) as i64).sum();
        (sum - 6 * (1 << 24)) as f32 / (1 << 24) as f32
    }

    /// Returns `n` random bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.bits() as u8).collect()
    }
}

/// Makes `n` weights of one scale in a float dtype.
pub fn weights(dtype: Dtype, n: usize, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..n {
        float(dtype, random.normal() / 32.0, &mut out);
    }
    out
}

/// Appends a number in a float dtype, truncated.
pub(crate) fn float(dtype: Dtype, x: f32, out: &mut Vec<u8>) {
    match dtype {
        Dtype::BF16 => out.extend(((x.to_bits() >> 16) as u16).to_le_bytes()),
        // The exponent of a normal half.
        Dtype::F16 => {
            let bits = x.to_bits();
            let exponent = ((bits >> 23 & 0xff) as i32 - 112).clamp(0, 30) as u32;
            let half = bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff;
            out.extend((half as u16).to_le_bytes());
        }
        Dtype::F64 => out.extend(f64::from(x).to_le_bytes()),
        _ => out.extend(x.to_le_bytes()),
    }
}

/// Makes weights whose scale differs by row and column; a few are zero or huge.
pub fn scaled_weights(dtype: Dtype, rows: usize, columns: usize, random: &mut Random) -> Vec<u8> {
    let size = dtype.bits() as usize / 8;
    let mantissa = if dtype == Dtype::F16 { 10 } else { 7 };
    let steps: Vec<u16> = (0..rows + columns).map(|_| (random.bits() % 4) as u16).collect();
    let mut out = weights(dtype, rows * columns, random);
    for (i, word) in out.chunks_exact_mut(size).enumerate() {
        let up = (steps[i / columns] + steps[rows + i % columns]) << mantissa;
        let top = word.last_chunk_mut().expect("at least 16 bits");
        let value = match random.bits() % 500 {
            0 => 0,
            1 => 0x7000,
            _ => u16::from_le_bytes(*top) + up,
        };
        *top = value.to_le_bytes();
    }
    out
}

/// Makes a small file with lanes, Huffman, stored, constant and packed planes, scales and matches.
pub fn small() -> Vec<u8> {
    let mut random = Random::new(2);
    safetensors(&[
        Tensor::new("huffman", Dtype::BF16, &[16, 16], weights(Dtype::BF16, 256, &mut random)),
        Tensor::new("lanes", Dtype::BF16, &[30, 100], weights(Dtype::BF16, 3000, &mut random)),
        Tensor::new(
            "scales",
            Dtype::BF16,
            &[40, 30],
            scaled_weights(Dtype::BF16, 40, 30, &mut random),
        ),
        Tensor::new("repeats", Dtype::I16, &[60], random.bytes(40).repeat(3)),
        Tensor::new("stored", Dtype::U8, &[40], random.bytes(40)),
        Tensor::new("constant", Dtype::F32, &[50], vec![0; 200]),
    ])
}

/// Makes a file that uses every part of the format, a few hundred kilobytes of raw data.
pub fn everything() -> Vec<u8> {
    let mut random = Random::new(1);
    let mut tensors = vec![
        Tensor::new("empty", Dtype::F32, &[0, 4], vec![]),
        Tensor::new("scalar", Dtype::F32, &[], 1.5f32.to_le_bytes().into()),
        Tensor::new("lanes.bf16", Dtype::BF16, &[40, 100], weights(Dtype::BF16, 4000, &mut random)),
        Tensor::new("stored", Dtype::U8, &[64], random.bytes(64)),
    ];
    for (i, dtype) in Dtype::ALL.into_iter().enumerate() {
        let data = match dtype {
            Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 | Dtype::C64 => {
                weights(dtype, 96 * if dtype == Dtype::C64 { 2 } else { 1 }, &mut random)
            }
            _ => {
                let len = 96 * dtype.bits() as usize / 8;
                (0..len).map(|i| if i % 4 == 0 { random.bits() as u8 & 15 } else { 0 }).collect()
            }
        };
        tensors.push(Tensor::new(&format!("dtype.{i}.{}", dtype.name()), dtype, &[8, 12], data));
    }
    let mut escapes = weights(Dtype::BF16, 20_000, &mut random);
    for i in (0..escapes.len()).step_by(4001) {
        escapes[i / 2 * 2 + 1] = i as u8;
    }
    tensors.push(Tensor::new("escapes", Dtype::BF16, &[200, 100], escapes));
    // Several small chunks, mostly of one value; the middle chunk is of its own kind.
    let mut chunks = vec![7u8; 1_300_000];
    for i in (0..chunks.len()).step_by(997) {
        chunks[i] = (i % 5) as u8;
    }
    chunks[550_000..553_000].copy_from_slice(&random.bytes(3000));
    tensors.push(Tensor::new("chunks", Dtype::U8, &[1300, 1000], chunks));
    // The second chunk is of another kind than the first, and brings its own Huffman table.
    let mut regimes = vec![0u8; 524_288];
    for i in (0..regimes.len()).step_by(997) {
        regimes[i] = 1;
    }
    regimes.extend((0..3000).map(|_| random.bits() as u8 % 40));
    tensors.push(Tensor::new("regimes", Dtype::U8, &[527_288], regimes));
    // 128 lanes.
    let flags = (0..100_000).map(|i| u8::from(i % 300 == 0)).collect();
    tensors.push(Tensor::new("flags", Dtype::Bool, &[100_000], flags));
    let floats: Vec<u8> = (0..300_000)
        .flat_map(|i| if i % 50 == 0 { 0x3f81u16 } else { 0x3f80 }.to_le_bytes())
        .collect();
    tensors.push(Tensor::new("chunks.bf16", Dtype::BF16, &[300, 1000], floats));
    // Twins: of several chunks, of one chunk, and one that differs late.
    for (name, index) in [("chunks.twin", "chunks"), ("escapes.twin", "escapes")] {
        let first = tensors.iter().find(|tensor| tensor.name == index).expect("it is above");
        tensors.push(Tensor { name: name.into(), ..first.clone() });
    }
    let mut differs = tensors.last().expect("just pushed").clone();
    *differs.data.last_mut().expect("it has bytes") ^= 1;
    tensors.push(Tensor { name: "escapes.differs".into(), ..differs });
    // Rows and columns of their own scale, zeros and outliers among them.
    for (dtype, name) in [(Dtype::BF16, "scales.bf16"), (Dtype::F32, "scales.f32")] {
        let data = scaled_weights(dtype, 300, 100, &mut random);
        tensors.push(Tensor::new(name, dtype, &[300, 100], data));
    }
    let halves = scaled_weights(Dtype::F16, 300, 100, &mut random);
    tensors.push(Tensor::new("scales.f16", Dtype::F16, &[60, 5, 100], halves));
    // Several chunks that end inside a row; without mantissa, so that they are small.
    let mut coarse = scaled_weights(Dtype::BF16, 7, 42_861, &mut random);
    coarse.iter_mut().step_by(2).for_each(|low| *low &= 0x80);
    tensors.push(Tensor::new("scales.chunks", Dtype::BF16, &[7, 42_861], coarse));
    // Rows that come back, with every other sign changed.
    let mut matches = weights(Dtype::BF16, 4000, &mut random);
    for i in 0..8000 {
        matches.push(matches[i] ^ if i % 4 == 3 { 0x80 } else { 0 });
    }
    matches.extend_from_within(..);
    tensors.push(Tensor::new("repeats.bf16", Dtype::BF16, &[160, 100], matches));
    let unknown = Tensor {
        name: "unknown".into(),
        dtype: "Q3_K".into(),
        shape: vec![77],
        data: random.bytes(33),
    };
    tensors.push(unknown);
    safetensors(&tensors)
}

/// Makes a file of matrices whose columns have means of their own, for [`Level::Max`].
pub fn skewed() -> Vec<u8> {
    let mut random = Random::new(3);
    let mut tensors = Vec::new();
    for (dtype, rows) in [(Dtype::BF16, 300), (Dtype::F16, 100), (Dtype::F32, 50), (Dtype::F64, 50)]
    {
        let columns = 100;
        let means: Vec<f32> = (0..columns).map(|_| random.normal() / 32.0).collect();
        let mut data = Vec::new();
        for i in 0..rows * columns {
            let value = match random.bits() % 2000 {
                0 => 0.0,
                1 => random.normal() * 1e5,
                _ => means[i % columns] + random.normal() / 32.0,
            };
            float(dtype, value, &mut data);
        }
        let (rows, columns) = (rows as u64, columns as u64);
        tensors.push(Tensor::new(dtype.name(), dtype, &[rows, columns], data));
    }
    // Each column depends on the two before it, and rows have scales of their own.
    for name in ["leaning", "leaning rows"] {
        let (rows, columns) = (400, 40);
        let mut data = Vec::new();
        for row in 0..rows {
            let scale = if name == "leaning" { 1.0 } else { (1 << (row % 7)) as f32 };
            let mut last = [0.0; 2];
            for column in 0..columns {
                let value = random.normal() * (1.0 + column as f32 / 16.0) * scale;
                last = [last[1], 0.8 * last[1] - 0.5 * last[0] + value];
                float(Dtype::BF16, last[1], &mut data);
            }
        }
        tensors.push(Tensor::new(name, Dtype::BF16, &[rows, columns], data));
    }
    safetensors(&tensors)
}

/// Slices by the plain definition, position by position.
pub fn naive_slice(
    shape: &[u64],
    size: usize,
    data: &[u8],
    slice: &[Index],
) -> (Vec<u64>, Vec<u8>) {
    // The positions of each dimension, and whether the dimension is dropped.
    let taken: Vec<(Vec<u64>, bool)> = (0..shape.len())
        .map(|d| match slice.get(d) {
            Some(Index::At(at)) => (vec![*at as u64], true),
            Some(Index::Range(start, stop)) => {
                let (start, stop) = (start.unwrap_or(0), stop.unwrap_or(shape[d] as i64));
                ((start as u64..stop as u64).collect(), false)
            }
            Some(Index::Steps(start, stop, step)) => {
                let (start, stop) = (start.unwrap_or(0), stop.unwrap_or(shape[d] as i64));
                ((start as u64..stop as u64).step_by(step.get() as usize).collect(), false)
            }
            _ => ((0..shape[d]).collect(), false),
        })
        .collect();
    let kept = taken.iter().filter(|(_, dropped)| !dropped);
    let result = kept.map(|(positions, _)| positions.len() as u64).collect();
    let mut out = Vec::new();
    for i in 0..shape.iter().product::<u64>() {
        let mut rest = i;
        let inside = taken.iter().zip(shape).rev().all(|((positions, _), &dim)| {
            let at = rest % dim;
            rest /= dim;
            positions.contains(&at)
        });
        if inside {
            out.extend_from_slice(&data[i as usize * size..][..size]);
        }
    }
    (result, out)
}

/// The Rust code of the README, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
