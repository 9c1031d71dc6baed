//! The packed file as it grows: payloads, models and chunk tables, then the index and the trailer.
//! The stored bytes of tensors that lie elsewhere are counted and not written.

use std::collections::HashMap;
use std::io::Write;

use super::buffers::Buffers;
use super::chunk::{EncodedChunk, Payload};
use super::coder::StoredModel;
use super::known::{Known, PartBase};
use super::versions::Version;
use at1w_codec::Backend;

use crate::batches::ChunkRef;
use crate::digest::{Chain, Digest};
use crate::error::{Error, Result};
use crate::format::bases::Bases;
use crate::format::chunking::Chunking;
use crate::format::features::BASES;
use crate::format::header::Header;
use crate::format::magic::{MAGIC, VERSION};
use crate::format::record::TensorRecord;
use crate::format::root::{content_digest, root};
use crate::format::stored_header;
use crate::format::trailer::Trailer;
use crate::progress::{Progress, report};
use crate::summary::Summary;

/// The file as it grows, written from start to end.
pub(super) struct Output<'a> {
    sink: &'a mut (dyn Write + Send),
    /// The length of the file so far, with the bytes that lie elsewhere.
    len: u64,
    /// The SHA-256 of the original file.
    original: Chain,
    /// The SHA-256 of the tensor that is being written.
    tensor: Chain,
    /// The chunk table of the tensor that is being written.
    payload_lens: Vec<u8>,
    states: Vec<u8>,
    /// The offset of that tensor.
    start: u64,
    records: Vec<TensorRecord>,
    /// The content digests of the tensors of several chunks.
    content_digests: Vec<Digest>,
    /// The features that readers of each tensor need.
    features: Vec<u64>,
    /// The base of each tensor that may have one.
    versions: &'a [Option<Version<'a>>],
    /// The bases of tensors that lie elsewhere.
    known_bases: HashMap<usize, PartBase>,
}

/// A file whose tensors are written.
pub(super) struct Finished {
    pub(super) records: Vec<TensorRecord>,
    /// The features that readers of each tensor need.
    pub(super) features: Vec<u64>,
    /// The index and the trailer.
    pub(super) tail: Vec<u8>,
    pub(super) summary: Summary,
}

impl<'a> Output<'a> {
    /// Begins the file after its first bytes.
    pub(super) fn new(
        backend: Backend,
        sink: &'a mut (dyn Write + Send),
        header: &Header,
        versions: &'a [Option<Version<'a>>],
    ) -> Self {
        let mut original = Chain::new(backend);
        original.update(&header.prefix());
        original.update(header.bytes());
        let len = MAGIC.len() as u64;
        Self {
            sink,
            len,
            original,
            tensor: Chain::new(backend),
            payload_lens: Vec::new(),
            states: Vec::new(),
            start: len,
            records: Vec::with_capacity(header.tensors().len()),
            content_digests: Vec::new(),
            features: Vec::with_capacity(header.tensors().len()),
            versions,
            known_bases: HashMap::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(Error::Write)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Hashes and writes chunks, in order.
    pub(super) fn append(
        &mut self,
        chunks: &mut Vec<EncodedChunk<'_>>,
        buffers: &Buffers,
        progress: &dyn Progress,
    ) -> Result<()> {
        for chunk in chunks.drain(..) {
            // Two chains over the same bytes: one for the file and one for the tensor.
            Chain::update_each([&mut self.original, &mut self.tensor], &chunk.raw);
            let digest = if chunk.at.is_last() {
                self.tensor.restart().finish().0
            } else {
                self.tensor.state().to_bytes()
            };
            match &chunk.payload {
                Payload::Own { bytes, len, model, based } => {
                    self.write(&bytes[..*len])?;
                    self.end_chunk(&chunk.at, *len, model, *based, digest)?;
                }
                Payload::Same => {
                    let record = TensorRecord::stored(digest, 0, 0).based();
                    self.end_stored(&chunk.at, digest, digest, record, BASES)?;
                }
                Payload::Shared(other) => self.end_shared(&chunk.at, *other, digest)?,
                Payload::Known(known) => self.end_known(&chunk.at, *known, digest)?,
            }
            let len = chunk.raw.len() as u64;
            buffers.give_back(chunk);
            report(progress, len)?;
        }
        Ok(())
    }

    /// Adds a chunk to the chunk table; the last chunk ends the tensor.
    fn end_chunk(
        &mut self,
        at: &ChunkRef,
        payload_len: usize,
        model: &StoredModel,
        based: bool,
        digest: [u8; 32],
    ) -> Result<()> {
        if at.count > 1 {
            self.payload_lens.extend((payload_len as u32).to_le_bytes());
        }
        if !at.is_last() {
            self.states.extend(digest);
            return Ok(());
        }
        self.write(&model.bytes)?;
        self.features.push(model.features() | if based { BASES } else { 0 });
        let (payload_lens, states) =
            (std::mem::take(&mut self.payload_lens), std::mem::take(&mut self.states));
        self.write(&payload_lens)?;
        self.write(&states)?;
        if !states.is_empty() {
            self.content_digests.push(content_digest(&states, Digest(digest)));
        }
        let (stored_len, model_len) = (self.len - self.start, model.bytes.len() as u32);
        let record = TensorRecord::stored(digest, stored_len, model_len);
        self.records.push(if based { record.based() } else { record });
        self.start = self.len;
        Ok(())
    }

    /// Adds a chunk of a tensor that shares the bytes of an earlier one.
    fn end_shared(&mut self, at: &ChunkRef, other: u32, digest: [u8; 32]) -> Result<()> {
        let record = TensorRecord::shared(digest, other);
        self.end_stored(at, digest, self.records[other as usize].digest, record, 0)
    }

    /// Adds a chunk of a tensor whose bytes lie elsewhere.
    fn end_known(&mut self, at: &ChunkRef, known: Known, digest: [u8; 32]) -> Result<()> {
        let (model_len, features) = known.len.model();
        let record = TensorRecord::stored(known.digest.0, known.len.stored_len, model_len);
        let Some(base) = known.base else {
            return self.end_stored(at, digest, known.digest.0, record, features);
        };
        self.known_bases.insert(at.tensor, base);
        self.end_stored(at, digest, known.digest.0, record.based(), features | BASES)
    }

    /// Adds the state after a chunk that is stored already; the last chunk ends the tensor, whose
    /// digest is checked.
    fn end_stored(
        &mut self,
        at: &ChunkRef,
        digest: [u8; 32],
        expected: [u8; 32],
        record: TensorRecord,
        features: u64,
    ) -> Result<()> {
        if !at.is_last() {
            self.states.extend(digest);
            return Ok(());
        }
        self.features.push(features);
        let states = std::mem::take(&mut self.states);
        if !states.is_empty() {
            self.content_digests.push(content_digest(&states, Digest(digest)));
        }
        if digest != expected {
            let problem = "a tensor is not what it was a moment ago: pack it again";
            return Err(Error::SourceChanged(problem.into()));
        }
        self.len += record.stored_len();
        self.start = self.len;
        self.records.push(record);
        Ok(())
    }

    /// Makes the index and the trailer.
    pub(super) fn finish(self, header: &Header) -> Result<Finished> {
        let index_offset = self.len;
        let (header_encoding, stored) = stored_header::store(header.bytes());
        let mut index = bytemuck::cast_slice(&self.records).to_vec();
        index.extend(self.content_digests.iter().flat_map(|d| d.0));
        let bases = self.bases(header)?;
        bases.write(&mut index)?;
        index.extend_from_slice(&stored);

        let required_features = self.features.iter().fold(0, |all, features| all | features);
        let root = root(header.bytes(), self.all_content_digests(header));
        let original_len = header.data_start() + header.data_len();
        let original_digest = self.original.clone().finish();
        let trailer = Trailer {
            index_offset: index_offset.to_le_bytes(),
            tensor_count: (self.records.len() as u64).to_le_bytes(),
            header_stored_len: (stored.len() as u64).to_le_bytes(),
            header_len: (header.bytes().len() as u64).to_le_bytes(),
            index_digest: Digest::of(&index).0,
            root: root.0,
            original_len: original_len.to_le_bytes(),
            original_digest: original_digest.0,
            required_features: required_features.to_le_bytes(),
            optional_features: [0; 8],
            header_encoding,
            reserved: [0; 3],
            version: VERSION.to_le_bytes(),
            checksum: [0; 8],
            magic: [0; 8],
        };
        let mut tail = index;
        tail.extend_from_slice(bytemuck::bytes_of(&trailer.seal()));
        let summary = Summary {
            tensors: self.records.len() as u64,
            original_len,
            packed_len: self.len + tail.len() as u64,
            root,
            original_digest,
            versions: bases.bases.len() as u64,
        };
        Ok(Finished { records: self.records, features: self.features, tail, summary })
    }

    /// Returns the bases of the tensors that have one. Checks that those which are the same as
    /// theirs still are.
    fn bases(&self, header: &Header) -> Result<Bases> {
        let mut bases = Bases::default();
        let mut content_digests = self.all_content_digests(header);
        for (tensor, (record, info)) in self.records.iter().zip(header.tensors()).enumerate() {
            let own = content_digests.next();
            if let Some(base) = self.known_bases.get(&tensor) {
                let model = bases.model(&PartBase::model());
                bases.bases.push(base.entry(model));
                continue;
            }
            let version = self.versions.get(tensor).copied().flatten();
            let Some(version) = version.filter(|_| record.is_based()) else { continue };
            let model = bases.model(&version.base.model()?);
            if version.same && own != Some(version.digest()?) {
                let problem = "a tensor is not what it was a moment ago: pack it again";
                return Err(Error::SourceChanged(problem.into()));
            }
            bases.bases.push(version.entry(info.name(), model)?);
        }
        Ok(bases)
    }

    /// Returns the content digest of each tensor.
    fn all_content_digests(&self, header: &Header) -> impl Iterator<Item = Digest> {
        let mut of_many = self.content_digests.iter();
        self.records.iter().zip(header.tensors()).map(move |(record, info)| {
            match Chunking::of(info).count() {
                1 => Digest(record.digest),
                _ => *of_many.next().expect("one for each tensor of several chunks"),
            }
        })
    }
}
