//! Packing for a store that keeps every tensor once: tensors that the store has are not encoded
//! again, the others come back to back, and the index and the trailer apart.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use at1w_codec::Predictor;
use rayon::prelude::*;

use super::dedup::{self, samples, within};
use super::known::{Known, PartBase, StoredLen};
use super::options::PackOptions;
use super::pack::{Before, encode};
use super::tensor_store::TensorStore;
use super::versions::{self, Version};
use crate::backend::chosen;
use crate::digest::{Chain, Digest};
use crate::error::Result;
use crate::format::bases::{Base, BaseModel, Bases};
use crate::format::chunking::Chunking;
use crate::format::features::BASES;
use crate::format::header::Header;
use crate::format::record::{RECORD_LEN, TensorRecord};
use crate::format::stored_header;
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

/// Part of the stored bytes of a tensor that a base saves where others are left for it.
const MIN_LEFT: u64 = 4;

/// Stored bytes that take the place of others.
#[derive(Clone, Copy, Debug)]
pub struct NewPart {
    /// The index of the tensor in data order.
    pub tensor: usize,
    /// The lengths of the bytes.
    pub len: StoredLen,
    /// The base, if they are differences to one.
    pub base: Option<PartBase>,
}

/// The base of a tensor that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedBase {
    /// The base.
    pub base: PartBase,
    /// The index of its file among those of the store.
    pub file: usize,
    /// Its index in the file.
    pub tensor: usize,
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
    /// The base of new bytes that are differences to it.
    pub base: Option<UsedBase>,
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
    let options = &options.bases(&[]);
    let backend = chosen(options.backend)?;
    let find = |(info, samples): (&TensorInfo, &Vec<u8>)| {
        if !store.may_have(info, samples) {
            return Ok((None, false));
        }
        let digest = hash(Chain::new(backend), source, &header, info, options.progress)?;
        let known = store.find(info, digest).map(|(len, base)| Known { digest, len, base });
        Ok((known, known.is_none() && store.stands_alone(info, digest)))
    };
    let found: Result<Vec<_>> =
        pool::run(|| tensors.par_iter().zip(&all_samples).map(find).collect());
    let (mut known, alone): (Vec<_>, Vec<_>) = found?.into_iter().unzip();
    let shared = dedup::find(source, &header)?;
    let is_version = |tensor| !shared.contains_key(&tensor) && !alone[tensor];
    let versions = find_versions(source, &header, &is_version, &mut known, store, options)?;
    let before = Before { shared, known: &known, versions: &versions };
    let file = encode(source, &header, sink, before, options)?;

    let mut offset = 0;
    let records = file.records.iter().zip(&file.features);
    let parts = records.zip(known).zip(all_samples).enumerate().map(
        |(tensor, (((record, &features), known), samples))| {
            let stored_len = record.stored_len();
            let version = versions.get(tensor).copied().flatten();
            let left = version.and_then(|version| version.left);
            let known = known.or(left.filter(|_| !record.is_based()));
            let (place, model_len) = match (record.is_shared(), known) {
                (true, _) => (Place::Shared(record.model_len()), 0),
                (false, Some(_)) => (Place::Found, record.model_len()),
                (false, None) => {
                    offset += stored_len;
                    (Place::New { offset: offset - stored_len }, record.model_len())
                }
            };
            let len = StoredLen::new(stored_len, model_len, features);
            let version = version.filter(|_| known.is_none() && record.is_based());
            let base = version.map(|version| used(&version, store)).transpose()?;
            Ok(Part { digest: Digest(record.digest), samples, place, len, base })
        },
    );
    let tensors = parts.collect::<Result<_>>()?;
    Ok(Parts { tensors, tail: file.tail, summary: file.summary, header })
}

/// Finds the base of each tensor that may be a version and is new, or may be stored in another way,
/// if the store has files with bases.
fn find_versions<'a>(
    source: &dyn ReadAt,
    header: &Header,
    is_version: &(dyn Fn(usize) -> bool + Sync),
    known: &mut [Option<Known>],
    store: &'a dyn TensorStore,
    options: &PackOptions<'_>,
) -> Result<Vec<Option<Version<'a>>>> {
    if store.bases().is_empty() {
        return Ok(Vec::new());
    }
    let backend = chosen(options.backend)?;
    let find = |(tensor, (info, known)): (usize, (&TensorInfo, &Option<Known>))| {
        let may_leave = |known: &Known| known.base.is_none() && store.may_leave(info, known.digest);
        if !is_version(tensor) || known.as_ref().is_some_and(|known| !may_leave(known)) {
            return Ok(None);
        }
        let version =
            versions::find_stored(backend, source, header, info, store, options.progress)?;
        let leaves = |version: &Version<'_>, known: &Known| {
            version.is_clear() && version.saved >= known.len.stored_len / MIN_LEFT
        };
        Ok(version.filter(|version| known.as_ref().is_none_or(|known| leaves(version, known))))
    };
    let tensors = header.tensors().par_iter().zip(&*known).enumerate();
    let found: Result<Vec<_>> = pool::run(|| tensors.map(find).collect());
    let mut found = found?;
    // Of the tensors that are known, only those that have a base now are stored anew.
    let new = header.tensors().iter().zip(&*known).zip(&found);
    let new = new.filter(|((_, known), version)| known.is_none() || version.is_some());
    let len = new.map(|((info, _), _)| info.raw_len()).sum();
    versions::drop_unless_worth_it(len, &mut found)?;
    for (known, version) in known.iter_mut().zip(&mut found) {
        if let Some(version) = version {
            version.left = known.take();
        }
    }
    Ok(found)
}

/// Returns the base that a tensor was written with.
fn used(version: &Version<'_>, store: &dyn TensorStore) -> Result<UsedBase> {
    let file = store.bases().iter().position(|base| std::ptr::eq(base, version.base));
    let base =
        PartBase { digest: version.digest()?, rounded: version.predictor == Predictor::Rounding };
    Ok(UsedBase { base, file: file.expect("a base of the store"), tensor: version.tensor })
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

/// The tensors of an index that have a base, by their index, each with its base.
#[derive(Clone, PartialEq)]
struct Based(BTreeMap<usize, (BaseModel, Base)>);

impl Based {
    fn of(index: &[u8], trailer: &Trailer) -> Result<Self> {
        let features = u64::from_le_bytes(trailer.required_features);
        if features & BASES == 0 {
            return Ok(Self(BTreeMap::new()));
        }
        let range = bases_range(index, trailer)?;
        let (mut same, mut tensors) = (Vec::new(), Vec::new());
        for tensor in 0..u64::from_le_bytes(trailer.tensor_count) as usize {
            let record: TensorRecord =
                bytemuck::pod_read_unaligned(&index[record_range(index, tensor)?]);
            if record.is_based() {
                tensors.push(tensor);
                same.push(record.stored_len() == 0);
            }
        }
        let parsed = Bases::parse(&index[range], &same).map_err(|problem| damaged(&problem))?;
        let base = |base: Base| (parsed.models[usize::from(base.model)].clone(), base);
        Ok(Self(tensors.into_iter().zip(parsed.bases.iter().cloned().map(base)).collect()))
    }

    fn set(&mut self, tensor: usize, base: Option<PartBase>) {
        match base {
            Some(base) => _ = self.0.insert(tensor, (PartBase::model(), base.entry(0))),
            None => _ = self.0.remove(&tensor),
        }
    }

    /// Returns an index with these bases in place of those that it has.
    fn write(&self, index: &[u8], trailer: &Trailer) -> Result<Vec<u8>> {
        let range = bases_range(index, trailer)?;
        let mut bases = Bases::default();
        for (model, base) in self.0.values() {
            let model = bases.model(model);
            bases.bases.push(Base { model, ..base.clone() });
        }
        let mut written = index[..range.start].to_vec();
        bases.write(&mut written)?;
        written.extend_from_slice(&index[range.end..]);
        Ok(written)
    }
}

/// Returns the range of the bases within an index: between the content digests and the header.
fn bases_range(index: &[u8], trailer: &Trailer) -> Result<Range<usize>> {
    let short = || damaged("it is too short for the header");
    let header_stored_len = u64::from_le_bytes(trailer.header_stored_len) as usize;
    let end = index.len().checked_sub(header_stored_len).ok_or_else(short)?;
    let header_len = u64::from_le_bytes(trailer.header_len);
    let header = stored_header::load(trailer.header_encoding, &index[end..], header_len);
    let header = Header::parse(header.map_err(|problem| damaged(&problem))?)?;
    let several = header.tensors().iter().filter(|info| Chunking::of(info).count() > 1).count();
    let start = header.tensors().len() * RECORD_LEN as usize + 32 * several;
    if start > end {
        return Err(damaged("it is too short for its content digests"));
    }
    Ok(start..end)
}

/// Returns the lengths of the stored bytes of all tensors, in data order, from the tail of a packed
/// file; `None` for a tensor that shares those of an earlier one.
///
/// # Errors
/// [`Error::Damaged`] for a tail that is none, or has fewer tensors.
pub fn part_lens(tail: &[u8], tensors: usize) -> Result<Vec<Option<StoredLen>>> {
    let (index, trailer) = split_tail(tail)?;
    // The tail does not tell which tensor it is that needs a feature.
    let features = u64::from_le_bytes(trailer.required_features);
    let len = |tensor| {
        let record: TensorRecord =
            bytemuck::pod_read_unaligned(&index[record_range(index, tensor)?]);
        let len = StoredLen::new(record.stored_len(), record.model_len(), features);
        Ok((!record.is_shared()).then_some(len))
    };
    (0..tensors).map(len).collect()
}

/// Returns the SHA-256 of each tensor, in data order, as the tail of a packed file has it.
///
/// # Errors
/// As [`part_lens`].
pub fn part_digests(tail: &[u8], tensors: usize) -> Result<Vec<Digest>> {
    let (index, _) = split_tail(tail)?;
    let digest = |tensor| {
        let record: TensorRecord =
            bytemuck::pod_read_unaligned(&index[record_range(index, tensor)?]);
        Ok(Digest(record.digest))
    };
    (0..tensors).map(digest).collect()
}

/// Makes the tail of a packed file anew for tensors whose content is stored in other bytes now.
///
/// # Errors
/// [`Error::Damaged`] for a tail that is none, or a tensor that shares the bytes of another.
pub fn replace_parts(tail: &[u8], changed: &[NewPart]) -> Result<Vec<u8>> {
    let (index, mut trailer) = split_tail(tail)?;
    let mut index = index.to_vec();
    let mut index_offset = u64::from_le_bytes(trailer.index_offset);
    let mut features = u64::from_le_bytes(trailer.required_features);
    let before = Based::of(&index, &trailer)?;
    let mut based = before.clone();
    for &NewPart { tensor, len, base } in changed {
        let (stored_len, (model_len, needed)) = (len.stored_len, len.model());
        features |= needed;
        let range = record_range(&index, tensor)?;
        let before: TensorRecord = bytemuck::pod_read_unaligned(&index[range.clone()]);
        if before.is_shared() {
            return Err(damaged("the tensor shares the bytes of another"));
        }
        let after = TensorRecord::stored(before.digest, stored_len, model_len);
        based.set(tensor, base);
        let after = if base.is_some() { after.based() } else { after };
        index[range].copy_from_slice(bytemuck::bytes_of(&after));
        index_offset = index_offset
            .checked_sub(before.stored_len())
            .and_then(|offset| offset.checked_add(stored_len))
            .ok_or_else(|| damaged("its lengths do not add up"))?;
    }
    if based != before {
        index = based.write(&index, &trailer)?;
        features = if based.0.is_empty() { features & !BASES } else { features | BASES };
    }
    trailer.required_features = features.to_le_bytes();
    trailer.index_offset = index_offset.to_le_bytes();
    trailer.index_digest = Digest::of(&index).0;
    index.extend_from_slice(bytemuck::bytes_of(&trailer.seal()));
    Ok(index)
}
