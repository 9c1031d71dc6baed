//! Packing for a store that keeps every tensor once: tensors that the store has are not encoded
//! again, the others come back to back, and the index and the trailer apart.

use std::io::Write;
use std::ops::Range;

use rayon::prelude::*;

use super::dedup::{samples, within};
use super::known::{Known, StoredLen};
use super::options::PackOptions;
use super::pack::encode;
use crate::backend::chosen;
use crate::digest::{Chain, Digest};
use crate::error::Result;
use crate::format::header::Header;
use crate::format::record::{RECORD_LEN, TensorRecord};
use crate::format::tensor_info::TensorInfo;
use crate::format::trailer::{TRAILER_LEN, Trailer};
use crate::kind::Wanted;
use crate::progress::{self, Progress};
use crate::recognise::explain;
use crate::source::{self, ReadAt};
use crate::summary::Summary;
use crate::{Error, pool};

/// The number of bytes that are hashed at a time.
const PIECE: u64 = 1 << 20;

/// A store of tensors, as packing asks it.
pub trait TensorStore: Sync {
    /// Whether there may be a tensor with the dtype and shape of this one, and with these bytes at
    /// its start and in its middle. Where there is none, the tensor is encoded at once; otherwise
    /// it is hashed first.
    fn may_have(&self, tensor: &TensorInfo, samples: &[u8]) -> bool;

    /// Finds the stored bytes of the tensor with this dtype, shape and SHA-256.
    fn find(&self, tensor: &TensorInfo, digest: Digest) -> Option<StoredLen>;
}

/// The place of the stored bytes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Written to the sink, at this offset.
    New {
        /// The offset in the sink, in bytes.
        offset: u64,
    },
    /// Where the store has them.
    Found,
    /// Those of the earlier tensor with this index.
    Shared(u32),
}

/// The stored bytes of a tensor of a file that was packed in parts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Part {
    /// The SHA-256 of the raw bytes.
    pub digest: Digest,
    /// The bytes at the start and in the middle of the tensor.
    pub samples: Vec<u8>,
    /// The place of the stored bytes.
    pub place: Place,
    /// Their lengths; 0 for a tensor that shares the bytes of an earlier one.
    pub len: StoredLen,
}

/// A file that was packed in parts. The packed file is its first bytes ([`crate::FIRST_BYTES`]),
/// the stored bytes of all tensors in data order, those that share an earlier one's aside, and the
/// tail.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// The header of the original file.
    pub header: Header,
    /// A part for each tensor, in data order.
    pub tensors: Vec<Part>,
    /// The index and the trailer.
    pub tail: Vec<u8>,
    /// The facts about the file.
    pub summary: Summary,
}

/// Packs a safetensors file for a store: writes the stored bytes of the tensors that the store does
/// not have to `sink`, back to back. The packed file that the parts make is the one that
/// [`crate::pack`] makes, where the store has what this version makes at this level.
///
/// # Errors
/// As [`crate::pack`].
pub fn pack_parts(
    source: &dyn ReadAt,
    sink: &mut (dyn Write + Send),
    store: &dyn TensorStore,
    options: &PackOptions<'_>,
) -> Result<Parts> {
    let header =
        Header::read(source).map_err(|error| explain(source, error, Wanted::Safetensors))?;
    let tensors = header.tensors();
    let all_samples =
        tensors.iter().map(|info| samples(source, &header, info)).collect::<Result<Vec<_>>>()?;
    // The tensors of a store stand alone.
    let options = &options.bases(&[]);
    let backend = chosen(options.backend)?;
    let find = |(info, samples): (&TensorInfo, &Vec<u8>)| {
        if !store.may_have(info, samples) {
            return Ok(None);
        }
        let digest = hash(Chain::new(backend), source, &header, info, options.progress)?;
        Ok(store.find(info, digest).map(|len| Known { digest, len }))
    };
    let known: Vec<Option<Known>> =
        pool::run(|| tensors.par_iter().zip(&all_samples).map(find).collect())?;
    let file = encode(source, &header, sink, &known, options)?;

    let mut offset = 0;
    let records = file.records.iter().zip(&file.features);
    let parts =
        records.zip(known).zip(all_samples).map(|(((record, &features), known), samples)| {
            let stored_len = record.stored_len();
            let (place, model_len) = match (record.is_shared(), known) {
                (true, _) => (Place::Shared(record.model_len()), 0),
                (false, Some(_)) => (Place::Found, record.model_len()),
                (false, None) => {
                    offset += stored_len;
                    (Place::New { offset: offset - stored_len }, record.model_len())
                }
            };
            let len = StoredLen::new(stored_len, model_len, features);
            Part { digest: Digest(record.digest), samples, place, len }
        });
    let tensors = parts.collect();
    Ok(Parts { tensors, tail: file.tail, summary: file.summary, header })
}

/// Returns the header of a safetensors file, and the SHA-256 of each tensor in data order.
///
/// # Errors
/// As [`crate::pack`].
pub fn tensor_digests(
    source: &dyn ReadAt,
    progress: &dyn Progress,
) -> Result<(Header, Vec<Digest>)> {
    let header =
        Header::read(source).map_err(|error| explain(source, error, Wanted::Safetensors))?;
    let backend = chosen(None)?;
    let digest = |info| hash(Chain::new(backend), source, &header, info, progress);
    let digests = pool::run(|| header.tensors().par_iter().map(digest).collect::<Result<_>>())?;
    Ok((header, digests))
}

fn hash(
    mut chain: Chain,
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    progress: &dyn Progress,
) -> Result<Digest> {
    let mut from = 0;
    while from < info.raw_len() {
        let to = info.raw_len().min(from + PIECE);
        chain.update(&source::read(source, within(header, info, from..to))?);
        progress::check(progress)?;
        from = to;
    }
    Ok(chain.finish())
}

/// Splits the tail of a packed file in the index, which is checked, and the trailer.
fn split_tail(tail: &[u8]) -> Result<(&[u8], Trailer)> {
    let index_len = tail.len().checked_sub(TRAILER_LEN as usize);
    let index_len = index_len.ok_or_else(|| damaged("it is too short"))?;
    let (index, trailer) = tail.split_at(index_len);
    let trailer = Trailer::parse(trailer, tail.len() as u64)?;
    if Digest::of(index).0 != trailer.index_digest {
        return Err(damaged("its SHA-256 does not match"));
    }
    Ok((index, trailer))
}

fn damaged(problem: &str) -> Error {
    Error::Damaged { section: "index", offset: 0, problem: problem.into() }
}

/// Returns the range of the record of a tensor within the index.
fn record_range(index: &[u8], tensor: usize) -> Result<Range<usize>> {
    let start = tensor.saturating_mul(RECORD_LEN as usize);
    let range = start..start.saturating_add(RECORD_LEN as usize);
    if range.end > index.len() {
        return Err(damaged("it has fewer tensors"));
    }
    Ok(range)
}

/// Returns the lengths of the stored bytes of a tensor, named by its index, from the tail of a
/// packed file.
///
/// # Errors
/// [`Error::Damaged`] for a tail that is none, or has fewer tensors.
pub fn part_len(tail: &[u8], tensor: usize) -> Result<StoredLen> {
    let (index, trailer) = split_tail(tail)?;
    let record: TensorRecord = bytemuck::pod_read_unaligned(&index[record_range(index, tensor)?]);
    // The tail does not tell which tensor it is that needs a feature.
    let features = u64::from_le_bytes(trailer.required_features);
    Ok(StoredLen::new(record.stored_len(), record.model_len(), features))
}

/// Returns the lengths of the stored bytes of all tensors, in data order, from the tail of a packed
/// file; `None` for a tensor that shares those of an earlier one.
///
/// # Errors
/// [`Error::Damaged`] for a tail that is none, or has fewer tensors.
pub fn part_lens(tail: &[u8], tensors: usize) -> Result<Vec<Option<StoredLen>>> {
    let (index, trailer) = split_tail(tail)?;
    let features = u64::from_le_bytes(trailer.required_features);
    let len = |tensor| {
        let record: TensorRecord =
            bytemuck::pod_read_unaligned(&index[record_range(index, tensor)?]);
        let len = StoredLen::new(record.stored_len(), record.model_len(), features);
        Ok((!record.is_shared()).then_some(len))
    };
    (0..tensors).map(len).collect()
}

/// Makes the tail of a packed file anew for tensors, named by their index, whose content is stored
/// in other bytes now.
///
/// # Errors
/// [`Error::Damaged`] for a tail that is none, or a tensor that shares the bytes of another.
pub fn replace_parts(tail: &[u8], changed: &[(usize, StoredLen)]) -> Result<Vec<u8>> {
    let (index, mut trailer) = split_tail(tail)?;
    let mut index = index.to_vec();
    let mut index_offset = u64::from_le_bytes(trailer.index_offset);
    let mut features = u64::from_le_bytes(trailer.required_features);
    for &(tensor, len) in changed {
        let (stored_len, (model_len, needed)) = (len.stored_len, len.model());
        features |= needed;
        let range = record_range(&index, tensor)?;
        let before: TensorRecord = bytemuck::pod_read_unaligned(&index[range.clone()]);
        if before.is_shared() {
            return Err(damaged("the tensor shares the bytes of another"));
        }
        let after = TensorRecord::stored(before.digest, stored_len, model_len);
        index[range].copy_from_slice(bytemuck::bytes_of(&after));
        index_offset = index_offset
            .checked_sub(before.stored_len())
            .and_then(|offset| offset.checked_add(stored_len))
            .ok_or_else(|| damaged("its lengths do not add up"))?;
    }
    trailer.required_features = features.to_le_bytes();
    trailer.index_offset = index_offset.to_le_bytes();
    trailer.index_digest = Digest::of(&index).0;
    index.extend_from_slice(bytemuck::bytes_of(&trailer.seal()));
    Ok(index)
}
