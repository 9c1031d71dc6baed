//! Opening a file: the trailer, the tensor records and the header, checked against each other.

use std::borrow::Cow;
use std::ops::Range;

use at1w_codec::{Encoder, Model};

use crate::chunking::Chunking;
use crate::digest::Digest;
use crate::format::{
    self, END_MAGIC, HEADER_DEFLATED, HEADER_PLAIN, MAGIC, MAX_DEFLATE_RATIO, MODEL_PLANES,
    RECORD_LEN, SHARED, TRAILER_LEN, TensorRecord, Trailer,
};
use crate::header::{Header, MAX_HEADER_LEN};
use crate::kind::{self, FileKind, Wanted};
use crate::pack::read_header;
use crate::reader::{FileInfo, OpenOptions};
use crate::source::{self, ReadAt};
use crate::{Error, Result};

/// Bytes at the end of a file that are read in the hope that the index is among them.
const TAIL_GUESS: u64 = 64 << 10;

/// What is known of a file once it is open.
pub(crate) struct Index {
    pub(crate) header: Header,
    pub(crate) info: FileInfo,
    records: Vec<TensorRecord>,
    /// Where each tensor begins in the file, and where the last one ends.
    offsets: Vec<u64>,
    content_digests: Vec<Digest>,
}

/// What is known of one tensor.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) record: &'a TensorRecord,
    pub(crate) content_digest: Digest,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether these are the bytes of an earlier tensor.
    pub(crate) shared: bool,
}

impl Entry<'_> {
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.record.digest)
    }

    pub(crate) fn model_len(&self) -> u64 {
        u32::from_le_bytes(self.record.model_len).into()
    }
}

impl Index {
    pub(crate) fn read(source: &dyn ReadAt, options: &OpenOptions) -> Result<Self> {
        let file_len = source.size().map_err(|source| Error::Read { offset: 0, source })?;
        let guess = file_len.saturating_sub(TAIL_GUESS);
        let ranges = [0..file_len.min(MAGIC.len() as u64), guess..file_len];
        let [start, tail] = source::read_ranges(source, &ranges)?;
        if *start != MAGIC {
            return Err(misbegun(source));
        }
        let trailer_offset = match file_len.checked_sub(TRAILER_LEN) {
            Some(offset) if tail.ends_with(&END_MAGIC) => offset,
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
        let len = trailer_offset - offset;
        let limits = &options.limits;
        let header_len = u64::from_le_bytes(trailer.header_len);
        let original_len = u64::from_le_bytes(trailer.original_len);
        for (what, size, limit) in [
            ("an index", len.saturating_add(header_len), limits.index_len),
            ("an original file", original_len, limits.original_len),
        ] {
            if size > limit {
                return Err(Error::Limit { what: what.into(), size, limit });
            }
        }
        let bytes = if offset >= guess {
            let from = (offset - guess) as usize;
            Cow::Borrowed(&tail[from..from + len as usize])
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

    /// Reads the sections of the index. Their bytes are what the writer meant, which does not
    /// make the writer honest: every number is checked.
    fn parse(bytes: &[u8], offset: u64, file_len: u64, trailer: &Trailer) -> Result<Self, String> {
        let count = u64::from_le_bytes(trailer.tensor_count);
        let header_stored_len = u64::from_le_bytes(trailer.header_stored_len);
        let records_len = count.checked_mul(RECORD_LEN).filter(|&len| len <= bytes.len() as u64);
        let records_len = records_len.ok_or("it is too short for its tensor records")?;
        let (records, rest) = bytes.split_at(records_len as usize);
        let digests_len = (rest.len() as u64).checked_sub(header_stored_len);
        let digests_len = digests_len.ok_or("it is too short for the header")?;
        let (content_digests, stored) = rest.split_at(digests_len as usize);

        let header = load_header(stored, trailer)?;
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
        let content_digests: Vec<[u8; 32]> = bytemuck::try_cast_slice(content_digests)
            .map_err(|_| "its content digests are no whole number of digests")?
            .to_vec();

        let mut offsets = Vec::with_capacity(records.len() + 1);
        let mut end = MAGIC.len() as u64;
        let mut of_many = content_digests.into_iter().map(Digest);
        let mut digests = Vec::with_capacity(records.len());
        let (mut chunk_tables_len, mut models_len) = (0, 0);
        for (record, info) in records.iter().zip(header.tensors()) {
            let fail = |problem: &str| format!("tensor {:?} {problem}", info.name);
            let known = record.model_kind == MODEL_PLANES && record.flags <= SHARED;
            if !known || record.reserved != [0; 2] {
                return Err(fail("has a model kind or flags that this version does not know"));
            }
            let chunks = Chunking::of(info).count();
            let tables = format::chunk_table_len(chunks);
            let models = u64::from(u32::from_le_bytes(record.model_len));
            let most = match chunks {
                1 => {
                    Model::MAX_LEN as u64 + Encoder::max_encoded_len(info.raw_len() as usize) as u64
                }
                _ => u64::MAX,
            };
            offsets.push(end);
            let stored_len = u64::from_le_bytes(record.stored_len);
            if record.flags == SHARED {
                let digest = match chunks {
                    1 => Some(Digest(record.digest)),
                    _ => of_many.next(),
                };
                // An earlier one that does not share itself: so there are no cycles.
                let other = records[..digests.len()].get(models as usize);
                let other = other.filter(|other| other.flags == 0 && other.digest == record.digest);
                let like = other.map(|_| &header.tensors()[models as usize]);
                let same = like.is_some_and(|like| like.is_like(info))
                    && digest == digests.get(models as usize).copied();
                if !same || stored_len != 0 {
                    return Err(fail("shares the bytes of a tensor that is another"));
                }
                digests.extend(digest);
                continue;
            }
            if models > Model::MAX_LEN as u64 || stored_len > most {
                return Err(fail("takes more than any encoding of it"));
            }
            end = end
                .checked_add(stored_len)
                .filter(|&end| end <= offset && tables + models <= stored_len)
                .ok_or_else(|| fail("does not fit where it should be"))?;
            digests.push(match chunks {
                1 => Digest(record.digest),
                _ => of_many.next().ok_or_else(|| fail("lacks its content digest"))?,
            });
            chunk_tables_len += tables;
            models_len += models;
        }
        offsets.push(end);
        if end != offset || of_many.next().is_some() {
            return Err("bytes are left over that belong to no tensor".into());
        }
        let info = FileInfo {
            version: u32::from_le_bytes(trailer.version),
            required_features: u64::from_le_bytes(trailer.required_features),
            optional_features: u64::from_le_bytes(trailer.optional_features),
            packed_len: file_len,
            original_len,
            original_digest: Digest(trailer.original_digest),
            root: Digest(trailer.root),
            header_len: header.bytes().len() as u64,
            header_stored_len,
            index_len: bytes.len() as u64 - header_stored_len,
            chunk_tables_len,
            models_len,
        };
        Ok(Self { header, info, records, offsets, content_digests: digests })
    }

    fn check_root(&self, pinned: Option<Digest>) -> Result<()> {
        let actual = format::root(self.header.bytes(), self.content_digests.iter().copied());
        if actual != self.info.root {
            let problem = format!("the root is {}, its content gives {actual}", self.info.root);
            let offset = self.info.packed_len - TRAILER_LEN;
            return Err(Error::Damaged { section: "trailer", offset, problem });
        }
        match pinned {
            Some(expected) if expected != actual => {
                Err(Error::Root { expected: expected.to_string(), actual: actual.to_string() })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn entry(&self, tensor: usize) -> Entry<'_> {
        let record = &self.records[tensor];
        let shared = record.flags == SHARED;
        let at = if shared { u32::from_le_bytes(record.model_len) as usize } else { tensor };
        Entry {
            record: &self.records[at],
            content_digest: self.content_digests[tensor],
            start: self.offsets[at],
            end: self.offsets[at + 1],
            shared,
        }
    }

    /// The tensors whose bytes overlap a range of the data section.
    pub(crate) fn overlapping(&self, data: Range<u64>) -> Range<usize> {
        let tensors = self.header.tensors();
        let first = tensors.partition_point(|t| t.data.end <= data.start);
        let last = tensors.partition_point(|t| t.data.start < data.end);
        first..last.max(first)
    }
}

/// Says what a file is that does not begin as an `.at1w` file.
fn misbegun(source: &dyn ReadAt) -> Error {
    let wanted = Wanted::At1w;
    match kind::recognise(source, wanted) {
        Ok(Some(error)) | Err(error) => error,
        Ok(None) if read_header(source).is_ok() => {
            Error::WrongKind { found: FileKind::Safetensors, wanted }
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

/// The header of the original file.
fn load_header(stored: &[u8], trailer: &Trailer) -> Result<Vec<u8>, String> {
    let len = u64::from_le_bytes(trailer.header_len);
    if len > MAX_HEADER_LEN {
        return Err(format!("a header of {len} bytes, safetensors allows {MAX_HEADER_LEN}"));
    }
    let header = match trailer.header_encoding {
        HEADER_PLAIN => stored.to_vec(),
        HEADER_DEFLATED if len > MAX_DEFLATE_RATIO.saturating_mul(stored.len() as u64) => {
            return Err(format!("a header of {len} bytes deflated to {}", stored.len()));
        }
        HEADER_DEFLATED => inflate(stored, len as usize)?,
        other => return Err(format!("unknown header encoding {other}")),
    };
    if header.len() as u64 != len {
        return Err(format!("the header has {} bytes, {len} were announced", header.len()));
    }
    Ok(header)
}

/// Inflates all of `stored` to exactly `len` bytes.
fn inflate(stored: &[u8], len: usize) -> Result<Vec<u8>, String> {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

    let mut header = vec![0; len];
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    match decompress(&mut state, stored, &mut header, 0, flags) {
        (TINFLStatus::Done, read, written) if (read, written) == (stored.len(), len) => Ok(header),
        (status, read, written) => Err(format!(
            "the header does not inflate: {read} of {} bytes gave {written} of {len} ({status:?})",
            stored.len()
        )),
    }
}
