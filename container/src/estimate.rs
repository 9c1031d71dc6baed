//! Estimates how small a file becomes, from samples of it.
//!
//! Tensors are sorted into strata by dtype and size. Of each stratum some pieces are read, at most
//! [`PIECE_LEN`] long and spread over it, and packed. The ratio of a stratum is that of its pieces
//! (a ratio estimator: W. Cochran, "Sampling Techniques", 1977, chapter 6), its variance that of
//! their residuals.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};

use at1w_codec::{Dtype, Level};

use crate::error::Result;
use crate::format::header::Header;
use crate::format::tensor_info::TensorInfo;
use crate::kind::Wanted;
use crate::progress::{self, Progress};
use crate::read::options::OpenOptions;
use crate::read::reader::Reader;
use crate::recognise::explain;
use crate::source::{self, ReadAt};
use crate::write::options::PackOptions;
use crate::write::pack::pack;
use crate::write::staged::{Staged, StagedTensor};

/// The largest piece, in bytes.
const PIECE_LEN: u64 = 1 << 20;

/// The pieces that a stratum has at least, if it has as many tensors or bytes.
const MIN_PIECES: u64 = 4;

/// The standard deviation of the ratio of a stratum of which a single piece was read.
const UNKNOWN_DEVIATION: f64 = 0.05;

/// The standard deviation that samples do not show, as a part of the size: each piece has a model of
/// its own, and tensors that are stored once for several are not found.
const UNSEEN_DEVIATION: f64 = 0.005;

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

    /// Returns the range that the packed length is in, in bytes, 19 times out of 20.
    pub fn interval(&self) -> Range<u64> {
        let half = 1.96 * self.variance.sqrt();
        (self.packed_len - half).max(0.0) as u64..(self.packed_len + half) as u64
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
    let mut strata: BTreeMap<_, Vec<&TensorInfo>> = BTreeMap::new();
    for tensor in header.tensors().iter().filter(|tensor| tensor.raw_len() > 0) {
        let class = tensor.raw_len().ilog2() / 4;
        strata.entry((tensor.coded_as().name(), class)).or_default().push(tensor);
    }
    let head = header.prefix().len() + header.bytes().len();
    let mut sum = Estimate::exact(head as u64, (head / 4) as u64);
    for tensors in strata.values() {
        progress::check(progress)?;
        sum += of_stratum(source, &header, tensors, level, share)?;
    }
    Ok(sum)
}

/// Estimates the size of all tensors of a stratum.
fn of_stratum(
    source: &dyn ReadAt,
    header: &Header,
    tensors: &[&TensorInfo],
    level: Level,
    share: f64,
) -> Result<Estimate> {
    let total: u64 = tensors.iter().map(|tensor| tensor.raw_len()).sum();
    let wanted = (total as f64 * share.clamp(0.0, 1.0)) as u64;
    let pieces = choose(tensors, wanted);
    let mut sampled = Vec::with_capacity(pieces.len());
    for piece in &pieces {
        let start = header.data_start() + piece.tensor.data.start + piece.range.start;
        let end = start + (piece.range.end - piece.range.start);
        let bytes = source::read(source, start..end)?;
        sampled.push((bytes.len() as f64, packed_len(piece, &bytes, level)? as f64));
    }
    let raw: f64 = sampled.iter().map(|(raw, _)| raw).sum();
    let packed: f64 = sampled.iter().map(|(_, packed)| packed).sum();
    let (ratio, n) = (packed / raw, sampled.len() as f64);
    let unread = (1.0 - raw / total as f64).max(0.0);
    let residuals: f64 = sampled.iter().map(|(raw, packed)| (packed - ratio * raw).powi(2)).sum();
    let deviation = match sampled.len() {
        1 => UNKNOWN_DEVIATION,
        _ => (n * residuals / (n - 1.0)).sqrt() / raw,
    };
    let deviation = deviation.hypot(UNSEEN_DEVIATION * ratio);
    let spread = deviation * total as f64 * unread.sqrt();
    Ok(Estimate {
        original_len: total,
        sampled_len: raw as u64,
        packed_len: ratio * total as f64,
        variance: spread * spread,
    })
}

/// A part of a tensor: whole slices of its outermost dimensions.
struct Piece<'t> {
    tensor: &'t TensorInfo,
    shape: Vec<u64>,
    /// Its bytes within the tensor.
    range: Range<u64>,
}

/// Chooses pieces of `wanted` bytes together, spread evenly over the bytes of the tensors.
fn choose<'t>(tensors: &[&'t TensorInfo], wanted: u64) -> Vec<Piece<'t>> {
    let total: u64 = tensors.iter().map(|tensor| tensor.raw_len()).sum();
    let usual = tensors.iter().map(|tensor| tensor.raw_len().min(PIECE_LEN)).max().unwrap_or(1);
    let count = wanted.div_ceil(usual.max(1)).max(MIN_PIECES);
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let (mut index, mut before) = (0, 0);
    for i in 0..count {
        // The middle of each of `count` equal parts.
        let at = (u128::from(total) * u128::from(2 * i + 1) / u128::from(2 * count)) as u64;
        while at - before >= tensors[index].raw_len() {
            before += tensors[index].raw_len();
            index += 1;
        }
        let piece = piece_at(tensors[index], at - before);
        let again = pieces.last().is_some_and(|last| {
            std::ptr::eq(last.tensor, piece.tensor) && last.range.end > piece.range.start
        });
        if !again {
            pieces.push(piece);
        }
    }
    pieces
}

/// Returns a piece of a tensor that has the byte at `at`.
fn piece_at(tensor: &TensorInfo, at: u64) -> Piece<'_> {
    let mut shape = tensor.shape().to_vec();
    let mut range = 0..tensor.raw_len();
    for dim in &mut shape {
        let len = range.end - range.start;
        if len <= PIECE_LEN || !len.is_multiple_of(*dim) {
            break;
        }
        let slice = len / *dim;
        let count = (PIECE_LEN / slice).clamp(1, *dim);
        let first = ((at - range.start) / slice).min(*dim - count);
        *dim = count;
        range = range.start + first * slice..range.start + (first + count) * slice;
    }
    Piece { tensor, shape, range }
}

/// Returns the bytes that a piece takes in a packed file.
fn packed_len(piece: &Piece<'_>, data: &[u8], level: Level) -> Result<u64> {
    let (len, dtype) = ([data.len() as u64], piece.tensor.dtype());
    // A piece of a tensor with elements of less than a byte may not be whole ones.
    let whole = dtype.filter(|dtype| dtype.bits().is_multiple_of(8));
    let (dtype, shape) = match whole {
        Some(dtype) => (dtype, piece.shape.as_slice()),
        None => (Dtype::U8, len.as_slice()),
    };
    let tensor = StagedTensor { name: piece.tensor.name(), dtype, shape, data };
    let mut file = Vec::new();
    pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new().level(level))?;
    let reader = Reader::new(Box::new(file), &OpenOptions::new())?;
    let stored: u64 = reader.tensors().map(|tensor| tensor.stored_len()).sum();
    /// A record of the index, compressed.
    const RECORD_LEN: u64 = 60;
    let record =
        if piece.range.end - piece.range.start == piece.tensor.raw_len() { RECORD_LEN } else { 0 };
    Ok(stored + record)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(estimate(&empty, Level::Fast, 1.0, &()).unwrap().packed_len < 100.0);
    }

    #[test]
    fn a_sum_has_the_sums() {
        let mut sum = Estimate::exact(10, 5);
        sum += Estimate { original_len: 100, sampled_len: 1, packed_len: 50.0, variance: 4.0 };
        assert_eq!((sum.original_len, sum.packed_len, sum.variance), (110, 55.0, 4.0));
        assert_eq!(sum.interval(), 51..58);
    }
}
