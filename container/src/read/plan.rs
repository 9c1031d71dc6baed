//! The plan of a tensor: everything that decoding and verifying its chunks needs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::ptr;

use at1w_codec::{Encoder, Model, Position, Predictor};
use rayon::prelude::*;

use super::index::Entry;
use super::stored::Stored;
use crate::digest::{After, Expected, State};
use crate::error::Result;
use crate::format::chunk_table::{PAYLOAD_LEN, STATE_LEN, chunk_table_len};
use crate::format::root::content_digest;
use crate::source;

/// The model and the chunk table of a tensor.
pub(crate) struct Plan<'a> {
    pub(crate) tensor: Stored<'a>,
    pub(crate) model: Model,
    /// The range of each payload in the file.
    payloads: Vec<Range<u64>>,
    /// The SHA-256 state after each chunk but the last.
    states: Vec<State>,
    /// The bytes of all payloads, where they were read with the model.
    read: Option<Cow<'a, [u8]>>,
    /// The base of a tensor that has differences to one.
    pub(crate) ground: Option<Box<Ground<'a>>>,
}

/// The base of a tensor.
pub(crate) struct Ground<'a> {
    pub(crate) plan: Plan<'a>,
    pub(crate) predictor: Predictor,
    /// Whether there are digests to verify it by. Memory that is to be updated has none.
    pub(crate) is_verifiable: bool,
}

impl<'a> Ground<'a> {
    /// Takes the plan of a base that is in a file.
    pub(crate) fn new(plan: Plan<'a>, predictor: Predictor) -> Self {
        Self { plan, predictor, is_verifiable: true }
    }
}

impl<'a> Plan<'a> {
    /// Reads the model and the chunk table; the payloads as well where they are one chunk, or where
    /// another request would cost more.
    pub(crate) fn read(tensor: Stored<'a>) -> Result<Self> {
        let tensor = tensor.resolve()?;
        if let Some(states) = tensor.plain {
            return Ok(Self::plain(tensor, states));
        }
        let ground = match tensor.entry.base {
            Some((_, base)) => Some(Ground::new(Self::read(tensor.base()?)?, base.predictor)),
            None => None,
        };
        Self::read_with(tensor, ground)
    }

    /// [`Plan::read`] for a tensor whose base is known, and that is not the same.
    pub(crate) fn read_on(tensor: Stored<'a>, ground: Ground<'a>) -> Result<Self> {
        Self::read_with(tensor, Some(ground))
    }

    fn read_with(tensor: Stored<'a>, ground: Option<Ground<'a>>) -> Result<Self> {
        let range = Self::range(tensor);
        let bytes = source::read(tensor.source, range.clone());
        let bytes = bytes.map_err(|error| tensor.located(error))?;
        Ok(Self { ground: ground.map(Box::new), ..Self::parse(tensor, range.start, bytes)? })
    }

    /// Makes the plan of a tensor that is not packed.
    fn plain(tensor: Stored<'a>, states: &[State]) -> Self {
        let (chunking, start) = (tensor.chunking(), tensor.entry.start);
        let payload = |chunk| {
            let range: Range<u64> = chunking.range(chunk);
            start + range.start..start + range.end
        };
        Self {
            tensor,
            model: Model::plain(tensor.info.coded_as().layout()),
            payloads: (0..chunking.count()).map(payload).collect(),
            states: states.to_vec(),
            read: None,
            ground: None,
        }
    }

    /// [`Plan::read`] for several tensors. Where requests cost something, those that lie in one
    /// source are read together, and so are their bases.
    pub(crate) fn read_all(tensors: &[Stored<'a>]) -> Result<Vec<Self>> {
        let read = |&tensor: &Stored<'a>| Self::read(tensor);
        if tensors.len() <= 1 || tensors.iter().all(|tensor| tensor.source.request_cost() == 0) {
            return tensors.par_iter().map(read).collect();
        }
        let tensors: Vec<_> =
            tensors.iter().map(|tensor| tensor.resolve()).collect::<Result<_>>()?;
        let base = |tensor: &Stored<'a>| match tensor.entry.base {
            Some((_, base)) if tensor.plain.is_none() => {
                Some(tensor.base().map(|found| (found, base.predictor)))
            }
            _ => None,
        };
        let bases: Vec<Option<_>> =
            tensors.iter().map(|tensor| base(tensor).transpose()).collect::<Result<_>>()?;
        let stored: Vec<_> = bases.iter().flatten().map(|&(base, _)| base).collect();
        let mut grounds = Self::read_all(&stored)?.into_iter();
        let read = Self::read_ranges(&tensors)?.into_iter();
        let plans = tensors.iter().zip(read).zip(&bases).map(|((&tensor, bytes), base)| {
            let Some(bytes) = bytes else { return Self::read(tensor) };
            let plan = Self::parse(tensor, Self::range(tensor).start, bytes)?;
            let ground = base.as_ref().and_then(|&(_, predictor)| {
                grounds.next().map(|plan| Box::new(Ground::new(plan, predictor)))
            });
            Ok(Self { ground, ..plan })
        });
        plans.collect()
    }

    /// Reads what plans are made from, those of one source together; nothing for tensors that are
    /// not packed.
    fn read_ranges(tensors: &[Stored<'a>]) -> Result<Vec<Option<Cow<'a, [u8]>>>> {
        let mut by_source: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, tensor) in tensors.iter().enumerate().filter(|(_, t)| t.plain.is_none()) {
            by_source.entry(ptr::from_ref(tensor.source).addr()).or_default().push(at);
        }
        let mut answers: Vec<Option<Cow<'a, [u8]>>> = tensors.iter().map(|_| None).collect();
        for all in by_source.into_values() {
            let source = tensors[all[0]].source;
            let ranges: Vec<_> = all.iter().map(|&at| Self::range(tensors[at])).collect();
            let read = match source::read_ranges(source, &ranges) {
                Ok(read) => read,
                // Each by itself: the error is about one of them.
                Err(_) => {
                    let one = |(&at, range): (&usize, &Range<u64>)| {
                        let read = source::read(source, range.clone());
                        read.map_err(|error| tensors[at].located(error))
                    };
                    all.iter().zip(&ranges).map(one).collect::<Result<_>>()?
                }
            };
            all.into_iter().zip(read).for_each(|(at, bytes)| answers[at] = Some(bytes));
        }
        Ok(answers)
    }

    /// Returns the range of the file that a plan is read from.
    fn range(tensor: Stored<'a>) -> Range<u64> {
        let Entry { start, end, .. } = tensor.entry;
        let chunks = tensor.chunk_count();
        if chunks == 1 || end - start <= tensor.source.request_cost() {
            return start..end;
        }
        end - chunk_table_len(chunks) - tensor.entry.model_len..end
    }

    /// Makes a plan of the bytes of its range, which begins at `first`.
    fn parse(tensor: Stored<'a>, first: u64, bytes: Cow<'a, [u8]>) -> Result<Self> {
        let Entry { start, end, .. } = tensor.entry;
        let chunks = tensor.chunk_count();
        let table_len = chunk_table_len(chunks);
        let model_start = end - table_len - tensor.entry.model_len;
        // The lengths fit: opening checked the index.
        let table = &bytes[bytes.len() - table_len as usize..];
        let model = &bytes[(model_start - first) as usize..][..tensor.entry.model_len as usize];
        let model = tensor.parse_model(model_start, model)?;
        let (payloads, states) = (Vec::new(), Vec::new());
        let mut plan = Self { tensor, model, payloads, states, read: None, ground: None };
        if chunks == 1 {
            plan.add_payload(start, model_start - start)?;
        } else {
            plan.add_table(table)?;
        }
        if first == start {
            let len = (model_start - start) as usize;
            plan.read = Some(match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..len]),
                Cow::Owned(mut bytes) => {
                    bytes.truncate(len);
                    Cow::Owned(bytes)
                }
            });
        }
        Ok(plan)
    }

    /// Makes a plan of the lengths of the payloads of all chunks, the first of which is where the
    /// tensor starts, and of the states of its chunk table, which are right.
    pub(crate) fn of_parts(
        tensor: Stored<'a>,
        model: Model,
        lens: &[u64],
        states: &[u8],
    ) -> Result<Self> {
        let mut plan = Self {
            tensor,
            model,
            payloads: Vec::new(),
            states: Vec::new(),
            read: None,
            ground: None,
        };
        plan.add_chunks(tensor.entry.start, lens, states)?;
        Ok(plan)
    }

    /// Adds the payloads and the states of the chunk table of a tensor of several chunks.
    fn add_table(&mut self, table: &[u8]) -> Result<()> {
        let tensor = self.tensor;
        let Entry { start, end, .. } = tensor.entry;
        let chunks = tensor.chunk_count();
        let table_len = table.len() as u64;
        let model_start = end - table_len - tensor.entry.model_len;
        let (lens, states) = table.split_at((chunks * PAYLOAD_LEN) as usize);
        if content_digest(states, tensor.digest()) != tensor.entry.content_digest {
            let problem = "its chunk states do not match its content digest".into();
            return Err(tensor.damaged(None, end - (chunks - 1) * STATE_LEN, problem));
        }
        let lens: Vec<_> =
            lens.as_chunks().0.iter().map(|len| u32::from_le_bytes(*len).into()).collect();
        if self.add_chunks(start, &lens, states)? != model_start {
            let problem = "its payload lengths do not add up".into();
            return Err(tensor.damaged(None, end - table_len, problem));
        }
        Ok(())
    }

    /// Adds payloads, one after the other from `start`, and states; returns the end of the last
    /// payload.
    fn add_chunks(&mut self, start: u64, lens: &[u64], states: &[u8]) -> Result<u64> {
        self.payloads.reserve_exact(lens.len());
        let mut at = start;
        for &len in lens {
            self.add_payload(at, len)?;
            at += len;
        }
        self.states.extend(states.as_chunks().0.iter().map(State::from_bytes));
        Ok(at)
    }

    /// Adds the payload of the next chunk. Checks that it is no longer than any encoding.
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

    /// Returns the SHA-256 state after each chunk but the last.
    pub(crate) fn states(&self) -> &[State] {
        &self.states
    }

    /// Returns the number of raw bytes of a chunk.
    pub(crate) fn chunk_len(&self, chunk: u64) -> usize {
        let Range { start, end } = self.tensor.chunking().range(chunk);
        (end - start) as usize
    }

    /// Returns the place of a chunk in the tensor.
    pub(crate) fn position(&self, chunk: u64) -> Position {
        let width = self.model.layout().width() as u64;
        Position::after_elements(self.tensor.chunking().range(chunk).start / width)
    }

    /// Returns the offset of the payload of a chunk in the file.
    pub(crate) fn offset(&self, chunk: u64) -> u64 {
        self.payloads[chunk as usize].start
    }

    /// Returns the payload of a chunk, read into `buffer` where it is not in memory.
    pub(crate) fn payload(&self, chunk: u64, buffer: Vec<u8>) -> Result<Cow<'_, [u8]>> {
        match self.payload_read(chunk) {
            Some(payload) => Ok(Cow::Borrowed(payload)),
            None => source::read_into(self.tensor.source, self.payload_range(chunk), buffer)
                .map_err(|error| self.tensor.located(error)),
        }
    }

    /// Returns the payload of a chunk where it is in memory.
    pub(crate) fn payload_read(&self, chunk: u64) -> Option<&[u8]> {
        let Range { start, end } = self.payload_range(chunk);
        let first = self.tensor.entry.start;
        self.read.as_deref().map(|read| &read[(start - first) as usize..(end - first) as usize])
    }

    /// Returns the range of the payload of a chunk in the file.
    pub(crate) fn payload_range(&self, chunk: u64) -> Range<u64> {
        self.payloads[chunk as usize].clone()
    }

    /// Returns the bytes of a chunk with the SHA-256 states that the index has for it.
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
