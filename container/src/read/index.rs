//! Opening a file: the trailer, the tensor records and the header, checked against each other.

use std::borrow::Cow;
use std::ops::Range;

use super::info::FileInfo;
use super::options::{Limits, OpenOptions};
use super::records::Records;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::bases::{Base, BaseModel};
use crate::format::chunking::Chunking;
use crate::format::features::BASES;
use crate::format::header::Header;
use crate::format::magic::{END_MAGIC, MAGIC};
use crate::format::record::{RECORD_LEN, TensorRecord};
use crate::format::root::root;
use crate::format::stored_header;
use crate::format::tensor_info::TensorInfo;
use crate::format::trailer::{TRAILER_LEN, Trailer};
use crate::kind::{FileKind, Wanted};
use crate::recognise::recognise;
use crate::source::{self, ReadAt};

/// The number of bytes at the end of a file that are read in the hope that the index is among them.
const TAIL_GUESS: u64 = 64 << 10;

/// The index of an open file, in memory and checked.
pub(crate) struct Index {
    pub(crate) header: Header,
    pub(crate) info: FileInfo,
    records: Records,
}

/// The entry of a tensor in the index.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) digest: Digest,
    pub(crate) content_digest: Digest,
    pub(crate) model_len: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether the stored bytes belong to an earlier tensor.
    pub(crate) shared: bool,
    /// The index of the tensor whose record this is: another one where the bytes are shared.
    pub(crate) record: usize,
    /// The base, with its index among those of the file.
    pub(crate) base: Option<(u32, &'a Base)>,
}

impl Entry<'_> {
    /// Whether the tensor is the same as its base.
    pub(crate) fn is_same(&self) -> bool {
        self.base.is_some() && self.start == self.end
    }
}

impl Index {
    /// Reads the index of a file and checks it.
    pub(crate) fn read(source: &dyn ReadAt, options: &OpenOptions) -> Result<Self> {
        let file_len = source::size(source)?;
        let guess = file_len.saturating_sub(options.tail_len.unwrap_or(TAIL_GUESS));
        let ranges = [0..file_len.min(MAGIC.len() as u64), guess..file_len];
        let answers = source::read_ranges(source, &ranges)?;
        let [start, tail] = answers.try_into().expect("there are as many answers as ranges");
        if *start != MAGIC {
            return Err(misbegun(source));
        }
        let trailer_offset = match file_len.checked_sub(TRAILER_LEN) {
            Some(offset) if tail.len() as u64 >= TRAILER_LEN && tail.ends_with(&END_MAGIC) => {
                offset
            }
            _ => return Err(misended(&tail, file_len)),
        };
        let trailer = Trailer::parse(&tail[tail.len() - TRAILER_LEN as usize..], file_len)?;

        let offset = u64::from_le_bytes(trailer.index_offset);
        let damaged = |section, offset, problem: &str| Error::Damaged {
            section,
            offset,
            problem: problem.into(),
        };
        if offset < MAGIC.len() as u64 || offset > trailer_offset {
            return Err(damaged("trailer", trailer_offset, "the index is not within the file"));
        }
        check_limits(&trailer, trailer_offset - offset, &options.limits)?;
        let bytes = if offset >= guess {
            let range = (offset - guess) as usize..(trailer_offset - guess) as usize;
            Cow::Borrowed(&tail[range])
        } else {
            source::read(source, offset..trailer_offset)?
        };
        if Digest::of(&bytes).0 != trailer.index_digest {
            return Err(damaged("index", offset, "its SHA-256 does not match"));
        }
        let index = Self::parse(&bytes, offset, file_len, &trailer)
            .map_err(|problem| damaged("index", offset, &problem))?;
        index.check_root(options.root)?;
        Ok(index)
    }

    /// Parses the sections of the index, whose SHA-256 is checked.
    fn parse(bytes: &[u8], offset: u64, file_len: u64, trailer: &Trailer) -> Result<Self, String> {
        let count = u64::from_le_bytes(trailer.tensor_count);
        let header_stored_len = u64::from_le_bytes(trailer.header_stored_len);
        let records_len = count.checked_mul(RECORD_LEN).filter(|&len| len <= bytes.len() as u64);
        let records_len = records_len.ok_or("it is too short for its tensor records")?;
        let (records, rest) = bytes.split_at(records_len as usize);
        let digests_len = (rest.len() as u64).checked_sub(header_stored_len);
        let digests_len = digests_len.ok_or("it is too short for the header")?;
        let (content_digests, stored) = rest.split_at(digests_len as usize);

        let header_len = u64::from_le_bytes(trailer.header_len);
        let header = stored_header::load(trailer.header_encoding, stored, header_len)?;
        let header = Header::parse(header).map_err(|e| e.to_string())?;
        if header.tensors().len() as u64 != count {
            let named = header.tensors().len();
            return Err(format!("it has {count} tensor records, the header {named} tensors"));
        }
        let original_len = u64::from_le_bytes(trailer.original_len);
        if header.original_len() != Some(original_len) {
            return Err(format!("the header does not describe a file of {original_len} bytes"));
        }
        let records: Vec<TensorRecord> = bytemuck::allocation::pod_collect_to_vec(records);
        let required_features = u64::from_le_bytes(trailer.required_features);
        let (content_digests, bases) = match required_features & BASES {
            0 => (content_digests, None),
            _ => {
                let several = |info: &&TensorInfo| Chunking::of(info).count() > 1;
                let len = 32 * header.tensors().iter().filter(several).count();
                let split = content_digests.split_at_checked(len);
                let (digests, bases) = split.ok_or("it is too short for its content digests")?;
                (digests, Some(bases))
            }
        };
        let content_digests: &[[u8; 32]] = bytemuck::try_cast_slice(content_digests)
            .map_err(|_| "its content digests are no whole number of digests")?;
        let content_digests = content_digests.iter().copied().map(Digest).collect();
        let records = Records::check(records, content_digests, bases, &header, offset)?;
        let info = FileInfo {
            version: u32::from_le_bytes(trailer.version),
            required_features,
            optional_features: u64::from_le_bytes(trailer.optional_features),
            packed_len: file_len,
            original_len,
            original_digest: Digest(trailer.original_digest),
            root: Digest(trailer.root),
            header_len,
            header_stored_len,
            index_len: bytes.len() as u64 - header_stored_len,
            chunk_tables_len: records.chunk_tables_len,
            models_len: records.models_len,
        };
        Ok(Self { header, info, records })
    }

    /// Checks that the root fits the content, and is the pinned one.
    fn check_root(&self, pinned: Option<Digest>) -> Result<()> {
        let actual = root(self.header.bytes(), self.records.content_digests.iter().copied());
        if actual != self.info.root {
            let problem = format!("the root is {}, its content gives {actual}", self.info.root);
            let offset = self.info.packed_len - TRAILER_LEN;
            return Err(Error::Damaged { section: "trailer", offset, problem });
        }
        match pinned {
            Some(expected) if expected != actual => Err(Error::Root { expected, actual }),
            _ => Ok(()),
        }
    }

    /// Returns the entry of a tensor; of a shared one, the place of the bytes that it shares.
    pub(crate) fn entry(&self, tensor: usize) -> Entry<'_> {
        let Records { records, offsets, content_digests, bases, base_of, .. } = &self.records;
        let shared = records[tensor].is_shared();
        let at = if shared { records[tensor].model_len() as usize } else { tensor };
        let base = base_of.get(at).copied().flatten();
        Entry {
            digest: Digest(records[at].digest),
            content_digest: content_digests[tensor],
            model_len: records[at].model_len().into(),
            start: offsets[at],
            end: offsets[at + 1],
            shared,
            record: at,
            base: base.map(|base| (base, &bases.bases[base as usize])),
        }
    }

    /// Returns the models that have bases.
    pub(crate) fn base_models(&self) -> &[BaseModel] {
        &self.records.bases.models
    }

    /// Counts the bases.
    pub(crate) fn base_count(&self) -> usize {
        self.records.bases.bases.len()
    }

    /// Returns the tensors whose bytes overlap a range of the data section.
    pub(crate) fn overlapping(&self, data: Range<u64>) -> Range<usize> {
        let tensors = self.header.tensors();
        let first = tensors.partition_point(|t| t.data.end <= data.start);
        let last = tensors.partition_point(|t| t.data.start < data.end);
        first..last.max(first)
    }
}

/// Checks the sizes that the trailer states.
fn check_limits(trailer: &Trailer, index_len: u64, limits: &Limits) -> Result<()> {
    let header_len = u64::from_le_bytes(trailer.header_len);
    let original_len = u64::from_le_bytes(trailer.original_len);
    for (what, size, limit) in [
        ("an index", index_len.saturating_add(header_len), limits.index_len),
        ("an original file", original_len, limits.original_len),
    ] {
        if size > limit {
            return Err(Error::Limit { what: what.into(), size, limit });
        }
    }
    Ok(())
}

/// Says what a file is that does not begin as an `.at1w` file.
fn misbegun(source: &dyn ReadAt) -> Error {
    let wanted = Wanted::At1w;
    match recognise(source, wanted) {
        Ok(Some(error)) | Err(error) => error,
        Ok(None) if Header::read(source).is_ok() => {
            Error::wrong_kind(FileKind::Safetensors, wanted)
        }
        Ok(None) => Error::NotAt1w,
    }
}

/// Says whether a file that does not end as an `.at1w` file is cut short, or goes on after its end.
fn misended(tail: &[u8], file_len: u64) -> Error {
    let ends = (TRAILER_LEN as usize..tail.len()).rev().find(|&end| {
        let tail = &tail[..end];
        tail.ends_with(&END_MAGIC)
            && Trailer::parse(&tail[end - TRAILER_LEN as usize..], file_len).is_ok()
    });
    let (offset, problem) = match ends {
        Some(end) => {
            let len = (tail.len() - end) as u64;
            (file_len - len, format!("{len} bytes follow the end of the file: cut them off"))
        }
        None => (file_len, "the file is cut short, or its last bytes are damaged".into()),
    };
    Error::Damaged { section: "trailer", offset, problem }
}
