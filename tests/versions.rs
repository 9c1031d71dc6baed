//! Files whose tensors are versions of those of other files, in memory.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use at1w_codec::Dtype;
use at1w_container::{
    FindBase, FoundBase, Level, OpenOptions, PackBase, PackOptions, Result, WantedBase, Weights,
    pack,
};

use crate::{Random, Tensor, float, safetensors, weights};

/// Packed files that have bases, each with the name of its file.
#[derive(Clone)]
pub struct Bases(Vec<(&'static str, Arc<Weights>)>);

impl Bases {
    /// Opens files, each of which may have its bases in those before it.
    ///
    /// # Errors
    /// The errors of opening.
    pub fn open(files: &[(&'static str, &[u8])]) -> Result<Self> {
        let mut opened = Self(Vec::new());
        for (name, file) in files {
            let weights = Weights::new(Box::new(file.to_vec()), &OpenOptions::new())?;
            let weights = weights.with_bases(Arc::new(opened.clone()));
            opened.0.push((name, Arc::new(weights)));
        }
        Ok(opened)
    }

    /// [`Bases::open`] for files that are valid.
    pub fn new(files: &[(&'static str, &[u8])]) -> Self {
        Self::open(files).expect("valid bases")
    }

    /// Packs a file as a version of the last of these.
    ///
    /// # Errors
    /// The errors of packing.
    pub fn packed(&self, level: Level, original: &[u8]) -> Result<Vec<u8>> {
        let base = |(name, weights): &(&str, Arc<Weights>)| {
            PackBase::new(weights.clone(), Path::new(name))
        };
        let bases: Vec<_> = self.0.last().map(base).into_iter().collect();
        let mut out = Vec::new();
        pack(&original.to_vec(), &mut out, &PackOptions::new().level(level).bases(&bases))?;
        Ok(out)
    }
}

impl FindBase for Bases {
    fn find(&self, wanted: &WantedBase<'_>) -> Result<Option<FoundBase>> {
        let file = self.0.iter().find(|(name, _)| *name == wanted.file);
        Ok(file.and_then(|(name, weights)| weights.clone().base(wanted.tensor, *name).ok()))
    }

    fn places(&self) -> String {
        "memory".into()
    }
}

/// Makes the number that is `step` along a training from 0.
fn trained(dtype: Dtype, n: usize, step: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut start = Random::new(21);
    let mut moves = Random::new(22);
    for _ in 0..n {
        let scale = [1.0, 0.25, 0.02][start.bits() as usize % 3];
        let (value, pace) = (start.normal() * scale, moves.normal());
        float(dtype, value + 2e-4 * step as f32 * pace, &mut out);
    }
    out
}

/// Makes a version of a model: the first, or one that was trained on from it. It has differences in
/// classes, tensors that are the same, one that is another's rounding, and many chunks.
pub fn version(step: u64, size: usize) -> Vec<u8> {
    let mut random = Random::new(23);
    let tensor = |name: &str, dtype, n: usize, data| Tensor::new(name, dtype, &[n as u64], data);
    // A tensor that is the same is worth a base from 512 bytes on, and if it is not one value.
    let still = size.max(300);
    let frozen = weights(Dtype::BF16, still, &mut random);
    let same = |i: usize| 9 - u8::from(size == SMALL && i.is_multiple_of(1000));
    let ids: Vec<u8> = (0..size as u64).flat_map(|i| (i * i + step).to_le_bytes()).collect();
    let quantised = |i: usize| (i * 7 % 31 + usize::from(step > 0 && i.is_multiple_of(50))) as u8;
    // Of several chunks and easily coded, with a chunk that is the same.
    let chunks = |i: usize| {
        [((i * i) >> 9) as u8 & 7, u8::from(i < 3000 && i.is_multiple_of(9)) * step as u8]
    };
    let mut tensors = vec![
        tensor("bf16", Dtype::BF16, size * 4, trained(Dtype::BF16, size * 4, step)),
        tensor("f16", Dtype::F16, size, trained(Dtype::F16, size, step)),
        tensor("f32", Dtype::F32, size, trained(Dtype::F32, size, step)),
        tensor("f64", Dtype::F64, size, trained(Dtype::F64, size, step)),
        tensor("i64", Dtype::I64, size, ids),
        tensor("u8", Dtype::U8, size * 2, (0..size * 2).map(quantised).collect()),
        tensor(if step == 0 { "frozen" } else { "still" }, Dtype::BF16, still, frozen),
        tensor("chunks", Dtype::BF16, 270_000, (0..270_000).flat_map(chunks).collect()),
        tensor("same chunks", Dtype::U8, 530_000, (0..530_000).map(same).collect()),
        tensor("empty", Dtype::F32, 0, vec![]),
    ];
    let twin = trained(Dtype::F32, size, 0);
    tensors.push(match step {
        0 => tensor("twin", Dtype::F32, size, twin),
        _ => {
            let rounded = |word: &[u8; 4]| {
                let word = u32::from_le_bytes(*word);
                ((word + 0x7fff + (word >> 16 & 1)) >> 16) as u16
            };
            let data = twin.as_chunks().0.iter().flat_map(|word| rounded(word).to_le_bytes());
            tensor("twin", Dtype::BF16, size, data.collect())
        }
    });
    safetensors(&tensors)
}

/// The names of the files of [`packed_versions`].
pub const NAMES: [&str; 3] = ["base.at1w", "version.at1w", "next.at1w"];

/// Packs three versions, each as one of the one before; the first stands alone.
pub fn packed_versions(size: usize) -> [Vec<u8>; 3] {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for step in 0..3 {
        let named: Vec<_> = NAMES.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
        let packed = Bases::new(&named).packed(Level::Default, &version(step, size));
        files.push(packed.expect("a valid file"));
    }
    files.try_into().expect("three files")
}

/// Packs the base of small files that tests damage.
pub fn small_base() -> Vec<u8> {
    Bases::new(&[]).packed(Level::Default, &version(0, SMALL)).expect("a valid file")
}

/// Opens the base of small files that tests damage.
pub fn small_bases() -> Arc<Bases> {
    static BASES: OnceLock<Arc<Bases>> = OnceLock::new();
    BASES.get_or_init(|| Arc::new(Bases::new(&[(NAMES[0], &small_base())]))).clone()
}

/// The size of small files that tests damage.
pub const SMALL: usize = 40;
