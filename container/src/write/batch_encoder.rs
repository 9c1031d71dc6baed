//! Reading and encoding the chunks of a file, batch after batch.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use at1w_codec::{Backend, Encoder, Level, Model, Position};
use rayon::prelude::*;

use super::buffers::Buffers;
use super::chunk::{EncodedChunk, Payload};
use super::coder::{Coder, StoredModel};
use super::known::Known;
use super::measure::measure;
use super::options::PackOptions;
use super::pack_base::MIN_GAIN;
use super::versions::{self, OpenBase, Version};
use crate::batches::ChunkRef;
use crate::error::{Error, Result};
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::tensor_info::TensorInfo;
use crate::progress::Progress;
use crate::source::{self, ReadAt};

/// An encoder of the chunks of a file, batch after batch.
pub(super) struct BatchEncoder<'a> {
    source: &'a dyn ReadAt,
    header: &'a Header,
    backend: Backend,
    level: Level,
    progress: &'a dyn Progress,
    /// For each tensor with the content of an earlier one, the index of the earlier one.
    shared: HashMap<usize, u32>,
    /// For each tensor that is stored elsewhere, its stored bytes.
    known: &'a [Option<Known>],
    /// For each tensor that may be a version of another, its base; empty where there are no bases.
    versions: &'a [Option<Version<'a>>],
    options: PackOptions<'a>,
    /// The last tensor of several chunks, and its model: the tensor may go on in the next batch.
    model: Option<(usize, Shared<'a>)>,
}

/// All that the chunks of a tensor share: the model, and the base if they are coded with it.
#[derive(Clone)]
struct Shared<'a> {
    model: Arc<StoredModel>,
    ground: Option<Arc<OpenBase<'a>>>,
}

/// What becomes of the one chunk of a tensor.
enum Only<'a> {
    /// It is encoded with a model, into so many bytes.
    Own(Shared<'a>, usize),
    /// The stored bytes that the tensor has stay.
    Kept(Known),
}

/// The number of chunks that are encoded in both ways to choose one.
const TRIED_CHUNKS: u64 = 8;

impl<'a> BatchEncoder<'a> {
    /// Takes what is known of tensors: which share the content of earlier ones, and which have
    /// bases.
    pub(super) fn new(
        backend: Backend,
        source: &'a dyn ReadAt,
        header: &'a Header,
        known: &'a [Option<Known>],
        shared: HashMap<usize, u32>,
        versions: &'a [Option<Version<'a>>],
        options: &PackOptions<'a>,
    ) -> Self {
        let PackOptions { level, progress, .. } = *options;
        let (model, options) = (None, *options);
        Self { source, header, backend, level, progress, shared, known, versions, options, model }
    }

    /// Reads and encodes the chunks of a batch on all threads.
    pub(super) fn encode(
        &mut self,
        batch: Vec<ChunkRef>,
        buffers: &Buffers,
    ) -> Result<Vec<EncodedChunk<'a>>> {
        let mut models = Vec::with_capacity(batch.len());
        for at in &batch {
            models.push(self.shared_model(at)?);
        }
        let this = &*self;
        let jobs = batch.into_par_iter().zip(models);
        jobs.map_init(
            || Coder::new(this.backend, this.level),
            |coder, (at, model)| this.encode_chunk(coder, buffers, at, model),
        )
        .collect()
    }

    /// Returns the model of a tensor of several chunks, which is made for its first chunk. A tensor
    /// of one chunk, or one that shares its bytes, has none.
    fn shared_model(&mut self, at: &ChunkRef) -> Result<Option<Shared<'a>>> {
        if at.count == 1 || self.stored_already(at.tensor).is_some() {
            return Ok(None);
        }
        if let Some((tensor, shared)) = &self.model
            && *tensor == at.tensor
        {
            return Ok(Some(shared.clone()));
        }
        let shared = match self.version(at.tensor) {
            Some(version) => self.choose(at, &version)?,
            None => self.alone(at)?,
        };
        self.model = Some((at.tensor, shared.clone()));
        Ok(Some(shared))
    }

    /// Makes the model of a tensor that stands alone.
    fn alone(&self, at: &ChunkRef) -> Result<Shared<'a>> {
        let Self { source, header, backend, level, progress, .. } = *self;
        let model = measure(backend, source, header, at.tensor, level, progress)?;
        Ok(Shared { model: self.stored(at, model)?, ground: None })
    }

    /// Makes the model of a tensor that has a base, or that of the tensor alone where it is not
    /// worth it: some chunks are encoded in both ways.
    fn choose(&self, at: &ChunkRef, version: &Version<'a>) -> Result<Shared<'a>> {
        let info = &self.header.tensors()[at.tensor];
        let ground = version.ground()?;
        let model = versions::measure(self.source, self.header, info, &ground, &self.options)?;
        let model = self.stored(at, model)?;
        let based = Shared { model, ground: Some(Arc::new(ground)) };
        if version.is_clear() {
            return Ok(based);
        }
        let alone = self.alone(at)?;
        let tried = at.count.min(TRIED_CHUNKS);
        let lens = (0..tried).into_par_iter().map(|i| -> Result<(u64, u64)> {
            let mut coder = Coder::new(self.backend, self.level);
            let range = Chunking::of(info).range(at.count * i / tried);
            let raw = self.read(info, &range, Vec::new())?;
            let mut bytes = Vec::new();
            let mut len = |shared: &Shared<'_>| {
                self.encode_with(&mut coder, info, range.clone(), &raw, shared, &mut bytes)
            };
            let (based, alone) = (len(&based)?, len(&alone)?);
            let both = based.zip(alone).ok_or_else(|| self.not_encoded(at))?;
            Ok((both.0 as u64, both.1 as u64))
        });
        let sum = |a: (u64, u64), b: (u64, u64)| Ok((a.0 + b.0, a.1 + b.1));
        let (with, without) = lens.try_reduce(|| (0, 0), sum)?;
        Ok(if with + without / MIN_GAIN < without { based } else { alone })
    }

    /// Returns the base of a tensor that is not the same as it.
    fn version(&self, tensor: usize) -> Option<Version<'a>> {
        self.versions.get(tensor).copied().flatten().filter(|version| !version.same)
    }

    /// Reads a range of a tensor.
    fn read(
        &self,
        info: &TensorInfo,
        range: &Range<u64>,
        buffer: Vec<u8>,
    ) -> Result<Cow<'a, [u8]>> {
        let start = self.header.data_start() + info.data.start;
        source::read_into(self.source, start + range.start..start + range.end, buffer)
    }

    /// Encodes a chunk into `out`, which may be longer; returns the length, or `None` if the
    /// encoding does not decode to the chunk.
    fn encode_with(
        &self,
        coder: &mut Coder,
        info: &TensorInfo,
        range: Range<u64>,
        raw: &[u8],
        Shared { model, ground }: &Shared<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>> {
        let position = Position::after_elements(range.start / model.width() as u64);
        let Some(ground) = ground else {
            out.resize(out.len().max(Encoder::max_encoded_len(raw.len())), 0);
            return Ok(coder.encode(model, position, raw, out));
        };
        let mut base = mem::take(&mut coder.base);
        base.resize(raw.len(), 0);
        ground.read(info.coded_as(), range, &mut base)?;
        let len = coder.encode_from(model, position, &base, raw, out);
        coder.base = base;
        Ok(len)
    }

    /// Says where the bytes of a tensor are that are not stored here.
    fn stored_already(&self, tensor: usize) -> Option<Payload> {
        if self.versions.get(tensor).copied().flatten().is_some_and(|version| version.same) {
            return Some(Payload::Same);
        }
        let shared = self.shared.get(&tensor).map(|&other| Payload::Shared(other));
        shared.or_else(|| Some(Payload::Known((*self.known.get(tensor)?)?)))
    }

    fn stored(&self, at: &ChunkRef, model: Model) -> Result<Arc<StoredModel>> {
        StoredModel::new(model).map(Arc::new).ok_or_else(|| self.not_encoded(at))
    }

    fn not_encoded(&self, at: &ChunkRef) -> Error {
        let name = self.header.tensors()[at.tensor].name().to_owned();
        Error::Encoded { name, chunk: at.chunk }
    }

    fn encode_chunk(
        &self,
        coder: &mut Coder,
        buffers: &Buffers,
        at: ChunkRef,
        shared: Option<Shared<'a>>,
    ) -> Result<EncodedChunk<'a>> {
        let info = &self.header.tensors()[at.tensor];
        let raw = self.read(info, &at.range, buffers.take(at.len()))?;
        if let Some(payload) = self.stored_already(at.tensor) {
            return Ok(EncodedChunk { at, raw, payload });
        }
        let mut bytes = buffers.take(raw.len());
        let (shared, len) = match shared {
            Some(shared) => {
                let len =
                    self.encode_with(coder, info, at.range.clone(), &raw, &shared, &mut bytes)?;
                (shared, len.ok_or_else(|| self.not_encoded(&at))?)
            }
            None => match self.encode_only(coder, &at, &raw, &mut bytes)? {
                Only::Own(shared, len) => (shared, len),
                Only::Kept(known) => {
                    return Ok(EncodedChunk { at, raw, payload: Payload::Known(known) });
                }
            },
        };
        let (model, based) = (shared.model, shared.ground.is_some());
        Ok(EncodedChunk { at, raw, payload: Payload::Own { bytes, len, model, based } })
    }

    /// Encodes the one chunk of a tensor, as a version of another where that is worth it.
    fn encode_only(
        &self,
        coder: &mut Coder,
        at: &ChunkRef,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Only<'a>> {
        let info = &self.header.tensors()[at.tensor];
        let mut based = None;
        if let Some(version) = self.version(at.tensor) {
            let ground = version.ground()?;
            let mut base = mem::take(&mut coder.base);
            base.resize(raw.len(), 0);
            ground.read(info.coded_as(), at.range.clone(), &mut base)?;
            let model = self.stored(at, versions::model(info.coded_as(), &base, raw))?;
            let mut bytes = Vec::new();
            let len = coder.encode_from(&model, Position::START, &base, raw, &mut bytes);
            coder.base = base;
            let shared = Shared { model, ground: Some(Arc::new(ground)) };
            let len = len.ok_or_else(|| self.not_encoded(at))?;
            let total =
                len as u64 + shared.model.bytes.len() as u64 + version.entry_len(info.name());
            let is_clear = match version.left {
                Some(known) => {
                    let without = known.len.stored_len;
                    if total + without / MIN_GAIN >= without {
                        return Ok(Only::Kept(known));
                    }
                    true
                }
                None => version.is_clear() && total < raw.len() as u64 / 2,
            };
            if is_clear {
                *out = bytes;
                return Ok(Only::Own(shared, len));
            }
            based = Some((shared, bytes, len, total));
        }
        let encoded = coder.encode_tensor(info.coded_as(), &info.shape, raw, out);
        let (model, len) = encoded.ok_or_else(|| self.not_encoded(at))?;
        let alone = Shared { model: Arc::new(model), ground: None };
        if let Some((shared, bytes, based_len, total)) = based {
            let without = len as u64 + alone.model.bytes.len() as u64;
            if total + without / MIN_GAIN < without {
                *out = bytes;
                return Ok(Only::Own(shared, based_len));
            }
        }
        Ok(Only::Own(alone, len))
    }
}
