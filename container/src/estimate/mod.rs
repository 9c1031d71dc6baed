//! Estimates how small a file becomes, from samples of it.
//!
//! `population` chooses chunks that stand for all, and concludes from them; `piece` packs a chunk
//! by itself.

mod piece;
mod population;

use std::ops::{AddAssign, Range};

use at1w_codec::Level;

pub use self::piece::Piece;
pub use self::population::{Expected, Population};
use crate::error::Result;
use crate::format::chunking::{Chunking, MAX_CHUNK_LEN};
use crate::format::header::Header;
use crate::format::magic::MAGIC;
use crate::format::record::RECORD_LEN;
use crate::format::stored_header;
use crate::format::tensor_info::TensorInfo;
use crate::format::trailer::TRAILER_LEN;
use crate::kind::Wanted;
use crate::progress::{self, Progress};
use crate::recognise::explain;
use crate::source::ReadAt;

/// The standard deviation that samples do not show, as a part of the size: each chunk has a model
/// of its own, and tensors that are stored once for several are not found.
const UNSEEN_DEVIATION: f64 = 0.003;

/// The sizes of files, as far as they are known from samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The length of the files, in bytes.
    pub original_len: u64,
    /// The bytes of them that were packed to make the estimate.
    pub sampled_len: u64,
    /// The expected length of the packed files, in bytes.
    pub packed_len: f64,
    /// The variance of that, in bytes squared.
    pub variance: f64,
}

impl Estimate {
    /// Returns what is known for sure: a file that stays as it is.
    pub fn exact(original_len: u64, packed_len: u64) -> Self {
        Self { original_len, sampled_len: 0, packed_len: packed_len as f64, variance: 0.0 }
    }

    /// Returns how far the packed length may be from the expected one 19 times out of 20, in
    /// bytes.
    pub fn margin(&self) -> f64 {
        1.96 * self.variance.sqrt()
    }

    /// Returns the range that the packed length is in, in bytes, 19 times out of 20.
    pub fn interval(&self) -> Range<u64> {
        let margin = self.margin();
        (self.packed_len - margin).max(0.0) as u64..(self.packed_len + margin) as u64
    }
}

impl AddAssign for Estimate {
    fn add_assign(&mut self, other: Self) {
        self.original_len = self.original_len.saturating_add(other.original_len);
        self.sampled_len = self.sampled_len.saturating_add(other.sampled_len);
        self.packed_len += other.packed_len;
        self.variance += other.variance;
    }
}

/// Estimates how small a safetensors file becomes, by packing about `share` of it, from 0 to 1.
///
/// # Errors
/// Those of [`crate::pack`].
pub fn estimate(
    source: &dyn ReadAt,
    level: Level,
    share: f64,
    progress: &dyn Progress,
) -> Result<Estimate> {
    let header =
        Header::read(source).map_err(|error| explain(source, error, Wanted::Safetensors))?;
    let mut population = Population::default();
    population.add(0, &header, |_| 0);
    let mut sampled_len = 0;
    let mut ratios = Vec::new();
    for piece in population.choose(share.max(least_share(&population)), 0) {
        progress::check(progress)?;
        let bytes = piece.read(source, &header)?;
        sampled_len += bytes.len() as u64;
        let packed = piece.pack(&header, &bytes, level)?;
        ratios.push((piece, piece.ratio(&header, &bytes, packed)?));
    }
    let mut estimate = population.estimate(&ratios, sampled_len);
    estimate += Estimate::exact(header.data_start(), overhead_len(&header));
    Ok(estimate)
}

/// The bytes of a sample without which it says little, however small the share is.
const LEAST_SAMPLE: f64 = (8 * MAX_CHUNK_LEN) as f64;

fn least_share(population: &Population) -> f64 {
    (LEAST_SAMPLE / population.raw_len().max(1) as f64).min(1.0)
}

impl Population {
    /// Returns the estimate of all tensors, without headers and indexes, from the ratios of chunks
    /// that have `sampled_len` bytes.
    pub fn estimate(&self, ratios: &[(Piece, f64)], sampled_len: u64) -> Estimate {
        let (expected, variance) = self.expect(ratios);
        let (original_len, packed_len) =
            (self.raw_len(), expected.iter().map(|e| e.packed_len).sum());
        let unread = 1.0 - sampled_len as f64 / original_len.max(1) as f64;
        let unseen = UNSEEN_DEVIATION * packed_len * unread.max(0.0).sqrt();
        Estimate { original_len, sampled_len, packed_len, variance: variance + unseen * unseen }
    }
}

/// Returns the length of a packed file without what is stored of its tensors.
pub fn overhead_len(header: &Header) -> u64 {
    /// The length of the content digest that a tensor of several chunks has.
    const DIGEST_LEN: u64 = 32;
    let large = |info: &&TensorInfo| Chunking::of(info).count() > 1;
    let digests = DIGEST_LEN * header.tensors().iter().filter(large).count() as u64;
    let records = RECORD_LEN * header.tensors().len() as u64;
    let (_, stored) = stored_header::store(header.bytes());
    MAGIC.len() as u64 + records + digests + stored.len() as u64 + TRAILER_LEN
}

#[cfg(test)]
mod tests {
    use at1w_codec::Dtype;

    use super::*;
    use crate::write::options::PackOptions;
    use crate::write::pack::pack;
    use crate::write::staged::{Staged, StagedTensor};

    fn file(tensors: &[(&str, Dtype, &[u64], &[u8])]) -> Vec<u8> {
        let tensors = tensors
            .iter()
            .map(|&(name, dtype, shape, data)| StagedTensor { name, dtype, shape, data })
            .collect();
        let mut bytes = Vec::new();
        Staged::new(tensors, None).unwrap().write(&mut bytes, &()).unwrap();
        bytes
    }

    /// Bytes of bf16 whose exponents are few.
    fn weights(len: usize) -> Vec<u8> {
        let mut x = 1_u32;
        (0..len)
            .map(|i| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let random = (x >> 24) as u8;
                if i % 2 == 0 { random } else { 0x3c + (random & 3) }
            })
            .collect()
    }

    #[test]
    fn an_estimate_is_near_what_packing_makes() {
        let data = weights(24 << 20);
        let small = weights(1000);
        let file = file(&[
            ("large", Dtype::BF16, &[3072, 4096], &data),
            ("bias", Dtype::BF16, &[500], &small),
        ]);
        let mut packed = Vec::new();
        pack(&file, &mut packed, &PackOptions::new()).unwrap();
        let estimate = estimate(&file, Level::Default, 0.1, &()).unwrap();
        assert_eq!(estimate.original_len, file.len() as u64);
        assert!(estimate.sampled_len < file.len() as u64 / 4);
        let error = (estimate.packed_len - packed.len() as f64).abs() / packed.len() as f64;
        assert!(error < 0.01, "{error}");
    }

    #[test]
    fn shapes_of_every_kind_have_pieces() {
        let data = weights(3 << 20);
        for shape in [
            vec![3 << 19],
            vec![1, 3 << 19],
            vec![3, 1 << 19],
            vec![1, 1, 3, 512, 1024],
            vec![3 << 19, 1],
        ] {
            let file = file(&[("t", Dtype::BF16, &shape, &data)]);
            let estimate = estimate(&file, Level::Fast, 0.0, &()).unwrap();
            assert!(estimate.sampled_len > 0 && estimate.packed_len > 0.0, "{shape:?}");
        }
        let empty = file(&[("t", Dtype::F32, &[0, 4], &[])]);
        let mut packed = Vec::new();
        let done = pack(&empty, &mut packed, &PackOptions::new()).unwrap();
        let estimate = estimate(&empty, Level::Fast, 1.0, &()).unwrap();
        assert_eq!(estimate.packed_len, done.packed_len as f64);
    }

    #[test]
    fn a_sum_has_the_sums() {
        let mut sum = Estimate::exact(10, 5);
        sum += Estimate { original_len: 100, sampled_len: 1, packed_len: 50.0, variance: 4.0 };
        assert_eq!((sum.original_len, sum.packed_len, sum.variance), (110, 55.0, 4.0));
        assert_eq!(sum.interval(), 51..58);
    }
}
