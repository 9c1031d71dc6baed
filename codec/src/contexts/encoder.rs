//! From scaled elements to the stream of their symbols, around the kernel of
//! [`at1w_simd::contexts`].

use at1w_simd::Backend;
use at1w_simd::contexts::{LANES, SLOT_BITS, START};
use at1w_simd::prediction::Column;

use super::Contexts;
use crate::symbol::{Folded, Symbol, context_of};
use crate::varint;

/// Returns how many lanes a plane of `n` symbols is coded with: 1 << this.
fn lanes_log(n: usize) -> u8 {
    if n < 1 << 15 { 2 } else { LANES.ilog2() as u8 }
}

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncoderMemory {
    /// The context bytes of elements.
    contexts: Vec<u8>,
    /// The values of a block of rows.
    values: Vec<Column>,
    coded: Vec<Coded>,
    escapes: Vec<Escape>,
    units: Vec<u16>,
}

/// An element whose top bits are kept as they are.
#[derive(Clone, Copy, Debug)]
struct Escape {
    /// The index of the element.
    at: usize,
    bits: u16,
}

/// A symbol that is to be coded.
#[derive(Clone, Copy, Debug)]
struct Coded {
    symbol: Symbol,
    context: u8,
    /// Its place among those whose lanes follow one another, modulo their number.
    place: u8,
}

impl Coded {
    fn new(symbol: Symbol, context: u8, place: usize) -> Self {
        Self { symbol, context, place: (place % LANES) as u8 }
    }
}

impl Contexts {
    /// Replaces the top bits of scaled words, the elements from `position` on in rows of `row_len`,
    /// by symbols and the bits below them, and appends the stream of the symbols.
    /// Words that are predicted are whole rows.
    #[expect(clippy::too_many_arguments, reason = "all are of one chunk, from one caller")]
    pub(crate) fn encode_words(
        &self,
        backend: Backend,
        width: usize,
        row_len: u64,
        position: u64,
        words: &mut [u8],
        memory: &mut EncoderMemory,
        out: &mut Vec<u8>,
    ) {
        let n = words.len() / width;
        let EncoderMemory { contexts: bytes, values, coded, escapes, units } = memory;
        coded.clear();
        escapes.clear();
        let mut code = |at: usize, context: u8, place: usize| {
            let word = &mut words[width * at..][..width];
            let top = u16::from_le_bytes([word[width - 2], word[width - 1]]);
            let Folded { mut symbol, rest, kept } = Symbol::fold(self.shift(), top);
            if symbol.is_escape() || !self.has(context, symbol) {
                symbol = Symbol::ESCAPE;
                escapes.push(Escape { at, bits: kept });
            }
            coded.push(Coded::new(symbol, context, place));
            word[width - 2..].copy_from_slice(&[rest, symbol.byte()]);
            symbol
        };
        match self.prediction() {
            None => {
                let contexts = self.of_elements(row_len, position, n, bytes);
                for i in 0..n {
                    code(i, contexts.get(i).copied().unwrap_or(0), i);
                }
            }
            Some(prediction) => {
                let rows = n / prediction.row_len();
                let done = prediction.walk(backend, rows, values, |run, contexts, symbols| {
                    for (place, (symbol, &context)) in symbols.iter_mut().zip(contexts).enumerate()
                    {
                        let row = run.row + place;
                        let at = row * prediction.row_len() + run.column;
                        *symbol = code(at, context, place).byte();
                    }
                    Ok(())
                });
                debug_assert!(done.is_ok(), "nothing can fail");
            }
        }
        // Escapes come in the order of elements.
        escapes.sort_unstable_by_key(|escape| escape.at);
        self.encode(coded, escapes, units, out);
    }

    /// Appends the stream of symbols: the number of escapes and these, the number of lanes and
    /// their states, and the shared 16-bit units. Each symbol has a slot.
    fn encode(&self, coded: &[Coded], escapes: &[Escape], units: &mut Vec<u16>, out: &mut Vec<u8>) {
        let tables = self.tables();
        let lanes_log = lanes_log(coded.len());
        let mut states = [START; LANES];
        let states = &mut states[..1 << lanes_log];
        units.clear();
        for &Coded { symbol, context, place } in coded.iter().rev() {
            let symbol = symbol.flipped(context).byte();
            let (freq, start) = tables.range(context_of(context), symbol);
            let state = &mut states[usize::from(place) & ((1 << lanes_log) - 1)];
            if u64::from(*state) >= u64::from(freq) << (32 - SLOT_BITS) {
                units.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / freq) << SLOT_BITS) + *state % freq + start;
        }
        varint::write(escapes.len() as u64, out);
        out.extend(escapes.iter().flat_map(|escape| escape.bits.to_le_bytes()));
        out.push(lanes_log);
        out.extend(states.iter().flat_map(|s| s.to_le_bytes()));
        out.extend(units.iter().rev().flat_map(|u| u.to_le_bytes()));
    }

    /// Whether a symbol of an element of this context byte can be coded.
    fn has(&self, context: u8, symbol: Symbol) -> bool {
        self.tables().range(context_of(context), symbol.flipped(context).byte()).0 > 0
    }
}
