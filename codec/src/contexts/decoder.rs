//! From the stream of symbols to the top bits of scaled elements, around the kernel of
//! [`at1w_simd::contexts`].

use at1w_simd::Backend;
use at1w_simd::contexts::{self, ContextTables, LANES, START};
use at1w_simd::prediction::{self, Column, ROWS};
use at1w_simd::scale;

use super::Contexts;
use crate::DecodeError;
use crate::cursor::Cursor;
use crate::prediction::Prediction;
use crate::symbol::{Symbol, context_of};

/// Symbols that are looked through for escapes at a time.
const ESCAPE_GROUP: usize = 256;

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecoderMemory {
    /// The context bytes of elements.
    contexts: Vec<u8>,
    /// The values of a block of rows, and its symbols.
    values: Vec<Column>,
    symbols: Vec<[u8; ROWS]>,
}

/// Decodes a stream of symbols, piece by piece.
pub(crate) struct SymbolDecoder<'a> {
    backend: Backend,
    shift: u8,
    tables: &'a ContextTables,
    escapes: &'a [[u8; 2]],
    states: [u32; LANES],
    lanes: usize,
    units: &'a [[u8; 2]],
}

impl<'a> SymbolDecoder<'a> {
    /// Reads what precedes the shared units; `stream` is the whole stream.
    pub(crate) fn new(
        backend: Backend,
        contexts: &'a Contexts,
        stream: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let mut input = Cursor::new(stream);
        let count = input.length()?;
        let escapes = input.arrays(count)?;
        let lanes_log = input.u8()?;
        if u32::from(lanes_log) > LANES.ilog2() {
            return Err(DecodeError::LaneState);
        }
        let lanes = 1 << lanes_log;
        let mut states = [START; LANES];
        for (state, bytes) in states.iter_mut().zip(input.arrays(lanes)?) {
            *state = u32::from_le_bytes(*bytes);
        }
        if states.iter().any(|&state| state < START) {
            return Err(DecodeError::LaneState);
        }
        let (units, odd) = input.rest().as_chunks();
        if !odd.is_empty() {
            return Err(DecodeError::LaneEnd);
        }
        let (shift, tables) = (contexts.shift(), contexts.tables());
        Ok(Self { backend, shift, tables, escapes, states, lanes, units })
    }

    /// Decodes the symbols of a chunk, which is of whole rows that are predicted.
    pub(crate) fn decode_predicted(
        &mut self,
        prediction: &Prediction,
        memory: &mut DecoderMemory,
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let row_len = prediction.row_len();
        let DecoderMemory { values, symbols: block, .. } = memory;
        block.resize(row_len, [0; ROWS]);
        let backend = self.backend;
        prediction.walk(backend, out.len() / row_len, values, |run, contexts, symbols| {
            self.decode_run(contexts, symbols)?;
            block[run.column][..symbols.len()].copy_from_slice(symbols);
            if run.column == row_len - 1 {
                let rows = &mut out[run.row * row_len..][..symbols.len() * row_len];
                prediction::transpose(backend, block, symbols.len(), rows);
            }
            Ok(())
        })
    }

    /// Decodes the next symbols, the elements from `position` on in rows of `row_len`, which are
    /// not predicted: a symbol of each lane equally often, or all that are left.
    pub(crate) fn decode(
        &mut self,
        contexts: &Contexts,
        row_len: u64,
        position: u64,
        memory: &mut DecoderMemory,
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let n = out.len();
        self.decode_run(&contexts.of_elements(row_len, position, n, &mut memory.contexts), out)
    }

    /// Decodes the next symbols, whose elements have these context bytes. The first one is in the
    /// first lane.
    fn decode_run(&mut self, of_elements: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
        let mut done = 0;
        if self.lanes == LANES {
            let (states, units) = (&mut self.states, &mut self.units);
            done = contexts::decode(self.backend, self.tables, states, units, of_elements, out);
        }
        for (i, symbol) in out.iter_mut().enumerate().skip(done) {
            let context = of_elements.get(i).map_or(0, |&context| context_of(context));
            let state = &mut self.states[i % self.lanes];
            let unit = self.units.first().map(|unit| u16::from_le_bytes(*unit));
            let refilled;
            (*symbol, refilled) = self.tables.step(context, state, unit.unwrap_or(0));
            if refilled {
                self.units = self.units.get(1..).ok_or(DecodeError::Truncated)?;
            }
        }
        for (symbol, &context) in out.iter_mut().zip(of_elements) {
            *symbol = Symbol::from_byte(*symbol).flipped(context).byte();
        }
        Ok(())
    }

    /// Puts the top bits of words together from their symbols, and puts the bits of escapes in
    /// their places.
    pub(crate) fn unfold(
        &mut self,
        width: usize,
        symbols: &[u8],
        words: &mut [u8],
    ) -> Result<(), DecodeError> {
        let shift = self.shift;
        scale::unfold(self.backend, width, shift.into(), words);
        let groups = symbols.chunks(ESCAPE_GROUP).zip(words.chunks_mut(width * ESCAPE_GROUP));
        let is_escape = |symbol: u8| Symbol::from_byte(symbol).is_escape();
        for (group, words) in groups {
            // Hardly any group has an escape, and one pass shows that.
            if !group.iter().fold(false, |any, &symbol| any | is_escape(symbol)) {
                continue;
            }
            let words = group.iter().zip(words.chunks_exact_mut(width));
            for (_, word) in words.filter(|(symbol, _)| is_escape(**symbol)) {
                let bytes = self.escapes.split_off_first().ok_or(DecodeError::Escapes)?;
                let kept = u16::from_le_bytes(*bytes);
                if kept >> (16 - shift) != 0 {
                    return Err(DecodeError::Escapes);
                }
                let below = u16::from(word[width - 2]) & ((1 << shift) - 1);
                word[width - 2..].copy_from_slice(&(kept << shift | below).to_le_bytes());
            }
        }
        Ok(())
    }

    /// Checks that the input ended with the plane, and every lane where it began.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if !self.units.is_empty() || self.states.iter().any(|&state| state != START) {
            return Err(DecodeError::LaneEnd);
        }
        if self.escapes.is_empty() { Ok(()) } else { Err(DecodeError::Escapes) }
    }
}
