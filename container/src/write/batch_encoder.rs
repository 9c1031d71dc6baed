//! Reading and encoding the chunks of a file, batch after batch.

use std::collections::HashMap;
use std::sync::Arc;

use at1w_codec::{Backend, Encoder, Level, Model, Position};
use rayon::prelude::*;

use super::buffers::Buffers;
use super::chunk::{EncodedChunk, Payload};
use super::coder::{Coder, StoredModel};
use super::dedup;
use super::known::Known;
use super::measure::measure;
use super::options::PackOptions;
use crate::batches::ChunkRef;
use crate::error::{Error, Result};
use crate::format::header::Header;
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
    /// The last tensor of several chunks, and its model: the tensor may go on in the next batch.
    model: Option<(usize, Arc<StoredModel>)>,
}

impl<'a> BatchEncoder<'a> {
    /// Finds the tensors that share the content of earlier ones.
    pub(super) fn new(
        backend: Backend,
        source: &'a dyn ReadAt,
        header: &'a Header,
        known: &'a [Option<Known>],
        options: &PackOptions<'a>,
    ) -> Result<Self> {
        let PackOptions { level, progress, .. } = *options;
        let shared = dedup::find(source, header)?;
        Ok(Self { source, header, backend, level, progress, shared, known, model: None })
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
    fn shared_model(&mut self, at: &ChunkRef) -> Result<Option<Arc<StoredModel>>> {
        if at.count == 1 || self.stored_already(at.tensor).is_some() {
            return Ok(None);
        }
        if let Some((tensor, model)) = &self.model
            && *tensor == at.tensor
        {
            return Ok(Some(model.clone()));
        }
        let Self { source, header, backend, level, progress, .. } = *self;
        let model = measure(backend, source, header, at.tensor, level, progress)?;
        let model = self.stored(at, model)?;
        self.model = Some((at.tensor, model.clone()));
        Ok(Some(model))
    }

    /// Says where the bytes of a tensor are that are not stored here.
    fn stored_already(&self, tensor: usize) -> Option<Payload> {
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
        model: Option<Arc<StoredModel>>,
    ) -> Result<EncodedChunk<'a>> {
        let info = &self.header.tensors()[at.tensor];
        let start = self.header.data_start() + info.data.start;
        let range = start + at.range.start..start + at.range.end;
        let raw = source::read_into(self.source, range, buffers.take(at.len()))?;
        if let Some(payload) = self.stored_already(at.tensor) {
            return Ok(EncodedChunk { at, raw, payload });
        }
        let model = match model {
            Some(model) => model,
            None => {
                let model = coder.model(info.coded_as(), &info.shape, &raw);
                self.stored(&at, model)?
            }
        };
        let position = Position::after_elements(at.range.start / model.width() as u64);
        let mut bytes = buffers.take(raw.len());
        bytes.resize(bytes.len().max(Encoder::max_encoded_len(raw.len())), 0);
        let len = coder.encode(&model, position, &raw, &mut bytes);
        let len = len.ok_or_else(|| self.not_encoded(&at))?;
        Ok(EncodedChunk { at, raw, payload: Payload::Own { bytes, len, model } })
    }
}
