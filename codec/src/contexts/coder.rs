//! The stream of symbols around the kernel of [`at1w_simd::contexts`].

use at1w_simd::contexts::{self, ContextTables, LANES, SLOT_BITS, START};
use at1w_simd::prediction::{self, Column};
use at1w_simd::{Backend, scale};

use super::prediction::{Prediction, ROWS};
use super::{Contexts, ESCAPE, FLIP};
use crate::{DecodeError, varint};

/// Symbols that are looked through for escapes at a time.
const BLOCK: usize = 256;

/// The most lanes, as a power of two.
const MAX_LANES_LOG: u8 = LANES.ilog2() as u8;

/// How many lanes a plane of `n` symbols is coded with: 1 << this.
fn lanes_log(n: usize) -> u8 {
    if n < 1 << 15 { 2 } else { MAX_LANES_LOG }
}

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// The context bytes of elements.
    contexts: Vec<u8>,
    /// The values of a block of rows, and its symbols.
    values: Vec<Column>,
    symbols: Vec<[u8; ROWS]>,
}

/// A symbol that is to be coded.
struct Coded {
    symbol: u8,
    context: u8,
    /// Its place among those whose lanes follow one another, modulo their number.
    place: u8,
}

impl Coded {
    fn new(symbol: u8, context: u8, place: usize) -> Self {
        Self { symbol, context, place: (place % LANES) as u8 }
    }
}

impl Contexts {
    /// Makes symbols and what is below of the top bits of scaled words, the elements from
    /// `position` on in rows of `row_len`, in the place of these, and appends the stream of the
    /// symbols. Words that are [predicted](Prediction::suits) are whole rows.
    #[allow(clippy::too_many_arguments, reason = "words, their place, and where all of it goes")]
    pub(crate) fn encode_words(
        &self,
        backend: Backend,
        width: usize,
        row_len: u64,
        position: u64,
        words: &mut [u8],
        memory: &mut Memory,
        out: &mut Vec<u8>,
    ) {
        let n = words.len() / width;
        let (mut coded, mut escapes) = (Vec::with_capacity(n), Vec::new());
        let mut code = |at: usize, context: u8, place: usize| {
            let word = &mut words[width * at..][..width];
            let top = u16::from_le_bytes([word[width - 2], word[width - 1]]);
            let (mut symbol, rest, mut escape) = Self::fold(self.shift, top);
            if escape.is_none() && !self.has(context, symbol) {
                (symbol, escape) = (ESCAPE, Some(top >> self.shift));
            }
            escapes.extend(escape.map(|escape| (at, escape)));
            coded.push(Coded::new(symbol, context, place));
            word[width - 2..].copy_from_slice(&[rest, symbol]);
            symbol
        };
        match self.prediction() {
            None => {
                let contexts = self.of_elements(row_len, position, n, &mut memory.contexts);
                for i in 0..n {
                    code(i, contexts.get(i).copied().unwrap_or(0), i);
                }
            }
            Some(prediction) => {
                let rows = n / prediction.row_len();
                let done =
                    prediction.walk(backend, rows, &mut memory.values, |run, contexts, symbols| {
                        for (place, (symbol, &context)) in
                            symbols.iter_mut().zip(contexts).enumerate()
                        {
                            let row = run.row + place;
                            *symbol = code(row * prediction.row_len() + run.column, context, place);
                        }
                        Ok(())
                    });
                debug_assert!(done.is_ok(), "nothing can fail");
            }
        }
        // Escapes come in the order of elements.
        escapes.sort_unstable_by_key(|&(at, _)| at);
        self.encode(&coded, escapes.iter().map(|&(_, escape)| escape), out);
    }

    /// Appends the stream of symbols, which come from [`Contexts::fold`]: the number of escapes and
    /// these, the number of lanes and their states, and the shared 16-bit units. Each symbol has a
    /// slot.
    fn encode(
        &self,
        coded: &[Coded],
        escapes: impl ExactSizeIterator<Item = u16>,
        out: &mut Vec<u8>,
    ) {
        let tables = self.tables();
        let lanes_log = lanes_log(coded.len());
        let mut states = vec![START; 1 << lanes_log];
        let mut units = Vec::with_capacity(coded.len());
        for &Coded { symbol, context, place } in coded.iter().rev() {
            let flip = if symbol == ESCAPE { 0 } else { context & FLIP };
            let (freq, start) = tables.range(context & !FLIP, symbol ^ flip);
            let state = &mut states[usize::from(place) & ((1 << lanes_log) - 1)];
            if u64::from(*state) >= u64::from(freq) << (32 - SLOT_BITS) {
                units.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / freq) << SLOT_BITS) + *state % freq + start;
        }
        varint::write(escapes.len() as u64, out);
        out.extend(escapes.flat_map(u16::to_le_bytes));
        out.push(lanes_log);
        out.extend(states.iter().flat_map(|s| s.to_le_bytes()));
        out.extend(units.iter().rev().flat_map(|u| u.to_le_bytes()));
    }

    /// Whether a symbol of an element of this context byte can be coded.
    fn has(&self, context: u8, symbol: u8) -> bool {
        self.tables().range(context & !FLIP, symbol ^ (context & FLIP)).0 > 0
    }
}

/// Decodes what [`Contexts::encode`] appended, piece by piece.
pub(crate) struct Decoder<'a> {
    shift: u8,
    tables: &'a ContextTables,
    escapes: &'a [[u8; 2]],
    states: [u32; 1 << MAX_LANES_LOG],
    lanes: usize,
    units: &'a [[u8; 2]],
}

impl<'a> Decoder<'a> {
    /// Reads what precedes the shared units; `input` is the whole stream.
    pub(crate) fn new(contexts: &'a Contexts, mut input: &'a [u8]) -> Result<Self, DecodeError> {
        let escapes = usize::try_from(varint::read(&mut input)?).ok();
        let (escapes, rest) = escapes
            .and_then(|count| input.split_at_checked(count.checked_mul(2)?))
            .ok_or(DecodeError::Truncated)?;
        let (&lanes_log, rest) = rest.split_first().ok_or(DecodeError::Truncated)?;
        if lanes_log > MAX_LANES_LOG {
            return Err(DecodeError::LaneState);
        }
        let lanes = 1 << lanes_log;
        let (flushed, units) = rest.split_at_checked(4 * lanes).ok_or(DecodeError::Truncated)?;
        let mut states = [START; 1 << MAX_LANES_LOG];
        for (state, bytes) in states.iter_mut().zip(flushed.as_chunks().0) {
            *state = u32::from_le_bytes(*bytes);
        }
        if states.iter().any(|&state| state < START) {
            return Err(DecodeError::LaneState);
        }
        let (units, odd) = units.as_chunks();
        if !odd.is_empty() {
            return Err(DecodeError::LaneEnd);
        }
        let shift = contexts.shift;
        Ok(Self {
            shift,
            tables: contexts.tables(),
            escapes: escapes.as_chunks().0,
            states,
            lanes,
            units,
        })
    }

    /// Decodes the symbols of a chunk, which is of whole rows that are predicted.
    pub(crate) fn decode_predicted(
        &mut self,
        backend: Backend,
        prediction: &Prediction,
        memory: &mut Memory,
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let row_len = prediction.row_len();
        let Memory { values, symbols: block, .. } = memory;
        block.resize(row_len, [0; ROWS]);
        prediction.walk(backend, out.len() / row_len, values, |run, contexts, symbols| {
            self.decode_run(backend, contexts, symbols)?;
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
        backend: Backend,
        contexts: &Contexts,
        row_len: u64,
        position: u64,
        memory: &mut Memory,
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let n = out.len();
        let contexts = contexts.of_elements(row_len, position, n, &mut memory.contexts);
        self.decode_run(backend, &contexts, out)
    }

    /// Decodes the next symbols, of elements of these context bytes, of which the first is in the
    /// first lane.
    fn decode_run(
        &mut self,
        backend: Backend,
        of_elements: &[u8],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let mut done = 0;
        if self.lanes == LANES {
            let (states, units) = (&mut self.states, &mut self.units);
            done = contexts::decode(backend, self.tables, states, units, of_elements, out);
        }
        for (i, symbol) in out.iter_mut().enumerate().skip(done) {
            let context = of_elements.get(i).map_or(0, |context| context & !FLIP);
            let state = &mut self.states[i % self.lanes];
            let unit = self.units.first().map(|unit| u16::from_le_bytes(*unit));
            let refilled;
            (*symbol, refilled) = self.tables.step(context, state, unit.unwrap_or(0));
            if refilled {
                self.units = self.units.get(1..).ok_or(DecodeError::Truncated)?;
            }
        }
        for (symbol, context) in out.iter_mut().zip(of_elements) {
            *symbol ^= context & (u8::from(*symbol != ESCAPE) * FLIP);
        }
        Ok(())
    }

    /// Puts the top bits of words together, of which these are the symbols, and what escapes stand
    /// for in their place.
    pub(crate) fn unfold(
        &mut self,
        backend: Backend,
        width: usize,
        symbols: &[u8],
        words: &mut [u8],
    ) -> Result<(), DecodeError> {
        let shift = self.shift;
        scale::unfold(backend, width, shift.into(), words);
        for (block, words) in symbols.chunks(BLOCK).zip(words.chunks_mut(width * BLOCK)) {
            // Hardly any has an escape, and that is known at once.
            let any = block.iter().fold(0, |any, &symbol| any | u8::from(symbol == ESCAPE));
            if any == 0 {
                continue;
            }
            for (_, word) in
                block.iter().zip(words.chunks_exact_mut(width)).filter(|(s, _)| **s == ESCAPE)
            {
                let (bytes, rest) = self.escapes.split_first().ok_or(DecodeError::Escapes)?;
                self.escapes = rest;
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
