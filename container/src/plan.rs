//! What is needed to decode and verify any chunk of a tensor.

use std::borrow::Cow;
use std::ops::Range;

use at1w_codec::{Encoder, Model, Position};

use crate::digest::{After, Expected, State};
use crate::format::{self, PAYLOAD_LEN, STATE_LEN};
use crate::index::Entry;
use crate::source;
use crate::tensor::Tensor;
use crate::{Result, coded_as};

/// The model and the chunk table of a tensor.
pub(crate) struct Plan<'a> {
    pub(crate) tensor: Tensor<'a>,
    pub(crate) model: Model,
    /// Where each payload is in the file.
    payloads: Vec<Range<u64>>,
    /// After each chunk but the last.
    states: Vec<State>,
    /// The only payload, of a tensor with one chunk: it came with the model.
    payload: Option<Cow<'a, [u8]>>,
}

/// The model of a tensor, alone.
pub(crate) fn read_model(tensor: &Tensor<'_>) -> Result<Model> {
    let end = tensor.entry.end - format::chunk_table_len(tensor.chunk_count());
    let start = end - tensor.entry.model_len();
    parse_model(tensor, start, &source::read(tensor.source, start..end)?)
}

fn parse_model(tensor: &Tensor<'_>, offset: u64, bytes: &[u8]) -> Result<Model> {
    let model = Model::from_bytes(coded_as(tensor.info).layout(), bytes)
        .map_err(|e| tensor.damaged(None, offset, format!("its model: {e}")))?;
    let elements = tensor.raw_len() / model.layout().width() as u64;
    // A few bytes may describe a long row: no more than the tensor is accounted for.
    if model.row_len() > elements.max(1) {
        let problem = format!("its model has rows of {} elements, it {elements}", model.row_len());
        return Err(tensor.damaged(None, offset, problem));
    }
    Ok(model)
}

impl<'a> Plan<'a> {
    /// Reads the model and the chunk table; of a tensor with one chunk also its payload.
    pub(crate) fn read(tensor: Tensor<'a>) -> Result<Self> {
        let Entry { start, end, .. } = tensor.entry;
        let chunks = tensor.chunk_count();
        let table_len = format::chunk_table_len(chunks);
        let model_start = end - table_len - tensor.entry.model_len();
        let first = if chunks == 1 { start } else { model_start };
        let bytes = source::read(tensor.source, first..end)?;
        // The index is checked: the lengths fit.
        let table = &bytes[bytes.len() - table_len as usize..];
        let model = &bytes[(model_start - first) as usize..][..tensor.entry.model_len() as usize];
        let model = parse_model(&tensor, model_start, model)?;
        let mut plan =
            Self { tensor, model, payloads: Vec::new(), states: Vec::new(), payload: None };
        if chunks == 1 {
            plan.add_payload(start, model_start - start)?;
            let len = (model_start - start) as usize;
            plan.payload = Some(match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..len]),
                Cow::Owned(mut bytes) => {
                    bytes.truncate(len);
                    Cow::Owned(bytes)
                }
            });
            return Ok(plan);
        }

        let (lens, states) = table.split_at((chunks * PAYLOAD_LEN) as usize);
        if format::content_digest(states, tensor.digest()) != tensor.entry.content_digest {
            let problem = "its chunk states do not match its content digest".into();
            return Err(tensor.damaged(None, end - (chunks - 1) * STATE_LEN, problem));
        }
        plan.payloads.reserve_exact(chunks as usize);
        let mut at = start;
        for len in lens.as_chunks().0 {
            let len = u64::from(u32::from_le_bytes(*len));
            plan.add_payload(at, len)?;
            at += len;
        }
        if at != model_start {
            let problem = "its payload lengths do not add up".into();
            return Err(tensor.damaged(None, end - table_len, problem));
        }
        plan.states.extend(states.as_chunks().0.iter().map(State::from_bytes));
        Ok(plan)
    }

    /// Adds the payload of the next chunk, which must be no longer than any encoding of it.
    fn add_payload(&mut self, offset: u64, len: u64) -> Result<()> {
        let chunk = self.payloads.len() as u64;
        let Range { start, end } = self.tensor.chunking().range(chunk);
        let max = Encoder::max_encoded_len((end - start) as usize) as u64;
        if len > max {
            let problem = format!("its payload has {len} bytes, {max} are always enough");
            return Err(self.tensor.damaged(Some(chunk), offset, problem));
        }
        self.payloads.push(offset..offset + len);
        Ok(())
    }

    /// Raw bytes of a chunk.
    pub(crate) fn chunk_len(&self, chunk: u64) -> usize {
        let Range { start, end } = self.tensor.chunking().range(chunk);
        (end - start) as usize
    }

    /// Where in the tensor a chunk begins.
    pub(crate) fn position(&self, chunk: u64) -> Position {
        let width = self.model.layout().width() as u64;
        Position::after_elements(self.tensor.chunking().range(chunk).start / width)
    }

    /// Where the payload of a chunk is in the file.
    pub(crate) fn offset(&self, chunk: u64) -> u64 {
        self.payloads[chunk as usize].start
    }

    /// The payload of a chunk, read into `buffer` where it is not in memory.
    pub(crate) fn payload(&self, chunk: u64, buffer: Vec<u8>) -> Result<Cow<'_, [u8]>> {
        match &self.payload {
            Some(payload) => Ok(Cow::Borrowed(payload)),
            None => {
                let range = self.payloads[chunk as usize].clone();
                source::read_into(self.tensor.source, range, buffer)
            }
        }
    }

    /// What the index says of the bytes of a chunk.
    pub(crate) fn expected<'b>(&self, chunk: u64, bytes: &'b [u8]) -> Expected<'b> {
        let before = match chunk.checked_sub(1) {
            None => State::INITIAL,
            Some(before) => self.states[before as usize],
        };
        let after = match self.states.get(chunk as usize) {
            Some(&after) => After::State(after),
            None => After::Digest(self.tensor.digest(), self.tensor.raw_len()),
        };
        Expected { before, bytes, after }
    }
}
