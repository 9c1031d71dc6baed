//! Decoding a chunk by its planes, the highest one by contexts if the chunk was encoded so.

use at1w_simd::Backend;
use at1w_simd::planes;

use super::method;
use super::strips::{Lanes, STRIP_LEN, Strips};
use crate::DecodeError;
use crate::byte_contexts;
use crate::contexts::{Contexts, DecoderMemory, SymbolDecoder};
use crate::cursor::Cursor;
use crate::limits::MAX_PLANES;
use crate::model::Model;
use crate::plane::{Entry, OwnTables};
use crate::scale::Scale;

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct PlanesDecoder {
    rows: RowSteps,
    /// Tables that streams begin with, one for each plane.
    own: Vec<OwnTables>,
    /// A strip of each plane.
    strips: Vec<u8>,
    /// Whole planes, of coders that can't stop half-way.
    planes: Vec<u8>,
    contexts: DecoderMemory,
    /// The context of each byte.
    byte_contexts: Vec<u8>,
}

/// The steps of rows, and the offsets that these make.
#[derive(Clone, Debug, Default)]
struct RowSteps {
    own: OwnTables,
    steps: Vec<u8>,
    offsets: Vec<u16>,
}

impl RowSteps {
    /// Reads the directory entry, if rows have steps.
    fn read_entry(
        &mut self,
        model: &Model,
        position: u64,
        elements: usize,
        input: &mut Cursor<'_>,
    ) -> Result<Option<Entry>, DecodeError> {
        let count = model.scale().map_or(0, |scale| scale.row_count(position, elements));
        self.steps.resize(count, 0);
        match count {
            0 => Ok(None),
            n => Ok(Some(Entry::read(0, n, input)?)),
        }
    }

    /// Decodes the steps, and makes offsets of them.
    fn decode(
        &mut self,
        backend: Backend,
        model: &Model,
        entry: Option<Entry>,
        input: &mut Cursor<'_>,
    ) -> Result<(), DecodeError> {
        if let Some(entry) = entry {
            let n = self.steps.len();
            let coded = entry.open(0, n, model.row_table(), &mut self.own, input)?;
            coded.decode(backend, &mut self.steps)?;
        }
        if let Some(scale) = model.scale() {
            scale.row_offsets(&self.steps, &mut self.offsets);
        }
        Ok(())
    }
}

impl PlanesDecoder {
    /// Decodes a chunk that is not made of matches: the elements from `position` on.
    pub(super) fn decode(
        &mut self,
        backend: Backend,
        model: &Model,
        position: u64,
        encoded: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        self.own.resize_with(MAX_PLANES, OwnTables::default);
        let mut input = Cursor::new(encoded);
        match input.u8()? {
            method::STORED => {
                raw.copy_from_slice(input.split(raw.len())?);
                input.end()
            }
            method::PLANES if model.contexts().is_none() && model.byte_contexts().is_none() => {
                self.decode_planes(backend, model, position, input, raw)
            }
            // The contexts did not suit the chunk.
            method::PLANES => {
                self.decode_planes(backend, &Model::plain(model.layout()), 0, input, raw)
            }
            method::CONTEXTS => {
                let contexts = model.contexts().ok_or(DecodeError::NoContexts)?;
                self.decode_contexts(backend, model, contexts, position, input, raw)
            }
            method::BYTE_CONTEXTS => {
                let contexts = model.byte_contexts().ok_or(DecodeError::NoContexts)?;
                let Self { rows, own, byte_contexts: of_elements, .. } = self;
                let memory = (&mut rows.steps, of_elements);
                byte_contexts::decode(backend, contexts, position, input, memory, &mut own[0], raw)
            }
            method => Err(DecodeError::UnknownMethod(method)),
        }
    }

    fn decode_planes(
        &mut self,
        backend: Backend,
        model: &Model,
        position: u64,
        mut input: Cursor<'_>,
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let layout = model.layout();
        let width = layout.width();
        let elements = raw.len() / width;
        let rows = self.rows.read_entry(model, position, elements, &mut input)?;
        let entries = read_entries(width, elements, &mut input)?;
        self.rows.decode(backend, model, rows, &mut input)?;
        let mut coded = [const { None }; MAX_PLANES];
        let planes = coded.iter_mut().zip(entries.iter().flatten()).zip(&mut self.own);
        for (plane, ((coded, entry), own)) in planes.enumerate() {
            *coded = Some(entry.open(plane, elements, model.table(plane), own, &mut input)?);
        }
        input.end()?;
        if width == 1
            && let Some(plane) = coded[0].take()
        {
            return plane.decode(backend, raw);
        }
        let (strips, planes) = (&mut self.strips, &mut self.planes);
        let mut lanes: [Lanes<'_>; MAX_PLANES] = Default::default();
        let mut strips =
            Strips::open(backend, layout, elements, coded, strips, planes, &mut lanes)?;
        let mut done = 0;
        for out in raw.chunks_mut(STRIP_LEN) {
            strips.merge_next(out)?;
            if let Some(scale) = model.scale() {
                scale.undo(backend, width, position, done, &self.rows.offsets, out);
            }
            done += out.len() / width;
        }
        strips.finish()
    }

    fn decode_contexts(
        &mut self,
        backend: Backend,
        model: &Model,
        (scale, contexts): (&Scale, &Contexts),
        position: u64,
        mut input: Cursor<'_>,
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let width = model.layout().width();
        let elements = raw.len() / width;
        let prediction = contexts.prediction();
        if prediction.is_some_and(|prediction| !prediction.suits(position, elements)) {
            return Err(DecodeError::Prediction);
        }
        let rows = self.rows.read_entry(model, position, elements, &mut input)?;
        let symbols_len = input.length()?;
        let entries = read_entries(width - 1, elements, &mut input)?;
        self.rows.decode(backend, model, rows, &mut input)?;
        let mut symbols = SymbolDecoder::new(backend, contexts, input.split(symbols_len)?)?;
        self.planes.resize(self.planes.len().max(width * elements), 0);
        let (highest, memory) = self.planes.split_at_mut(elements);
        let lower = decode_lower(backend, model, &entries, &mut self.own, memory, elements, input)?;
        // Only the bits below a symbol may be in the plane below it.
        let below = lower[width - 2].iter().fold(0, |any, byte| any | byte);
        if u16::from(below) >> contexts.shift() != 0 {
            return Err(DecodeError::Contexts);
        }

        if let Some(prediction) = prediction {
            symbols.decode_predicted(prediction, &mut self.contexts, highest)?;
        }
        let mut done = 0;
        for out in raw.chunks_mut(STRIP_LEN) {
            let n = out.len() / width;
            let strip = &mut highest[done..][..n];
            if prediction.is_none() {
                let start = position + done as u64;
                symbols.decode(contexts, scale.row_len, start, &mut self.contexts, strip)?;
            }
            let mut planes = lower.map(|plane| plane.get(done..done + n).unwrap_or(&[]));
            planes[width - 1] = strip;
            planes::merge(backend, model.layout().unrotated(), &planes[..width], out);
            symbols.unfold(width, strip, out)?;
            scale.undo(backend, width, position, done, &self.rows.offsets, out);
            done += n;
        }
        symbols.finish()
    }
}

/// Reads the directory entries of `count` planes.
fn read_entries(
    count: usize,
    elements: usize,
    input: &mut Cursor<'_>,
) -> Result<[Option<Entry>; MAX_PLANES], DecodeError> {
    let mut entries = [None; MAX_PLANES];
    for (plane, entry) in entries[..count].iter_mut().enumerate() {
        *entry = Some(Entry::read(plane, elements, input)?);
    }
    Ok(entries)
}

/// Decodes the planes below the symbols into memory, to the end of the input.
fn decode_lower<'m>(
    backend: Backend,
    model: &Model,
    entries: &[Option<Entry>; MAX_PLANES],
    own: &mut [OwnTables],
    memory: &'m mut [u8],
    elements: usize,
    mut input: Cursor<'_>,
) -> Result<[&'m [u8]; MAX_PLANES], DecodeError> {
    let mut lower: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
    let memory = memory.chunks_exact_mut(elements);
    let planes = memory.zip(entries.iter().flatten()).zip(own);
    for (plane, ((memory, entry), own)) in planes.enumerate() {
        let table = model.table(plane);
        entry.open(plane, elements, table, own, &mut input)?.decode(backend, memory)?;
        lower[plane] = memory;
    }
    input.end()?;
    Ok(lower)
}
