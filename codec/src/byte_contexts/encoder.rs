//! From bytes to the stream of their symbols in contexts.

use at1w_simd::Backend;
use at1w_simd::byte_contexts::{LANES, SLOT_BITS, START};

use super::model::ByteContexts;
use crate::cost::{BIT, BYTE, Cost};
use crate::plane::{Choice, Stream, Suits};
use crate::varint;

/// Returns how many lanes a plane of `n` symbols is coded with: 1 << this.
fn lanes_log(n: usize) -> u8 {
    if n < 1 << 14 { 2 } else { LANES.ilog2() as u8 }
}

/// Returns the cost of a chunk of `n` symbols beside these and the classes of rows: 32 bits of
/// state for each lane, of which the symbols use 8 on average, and what says where things are.
pub(crate) fn flush_cost(n: usize) -> Cost {
    (24 << lanes_log(n)) * BIT + 16 * BYTE
}

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncoderMemory {
    /// The classes of rows.
    rows: Vec<u8>,
    /// The context of each element.
    contexts: Vec<u8>,
    escapes: Vec<u8>,
    units: Vec<[u8; 2]>,
    streams: Vec<u8>,
    scratch: Vec<u8>,
}

impl EncoderMemory {
    /// Returns the classes of the rows that contexts were chosen for last.
    pub(crate) fn rows(&self) -> &[u8] {
        &self.rows
    }

    /// Returns the context of each element that contexts were chosen for last.
    pub(crate) fn contexts(&self) -> &[u8] {
        &self.contexts
    }
}

impl ByteContexts {
    /// Chooses the cheapest class for each row, and with it the context of each element.
    pub(crate) fn choose(&self, position: u64, symbols: &[u8], memory: &mut EncoderMemory) {
        let costs = self.symbol_costs();
        let EncoderMemory { rows, contexts, .. } = memory;
        self.column_classes(position, symbols.len(), contexts);
        rows.clear();
        let columns = self.shape.column_classes;
        for row in self.shape.rows(position, symbols.len()) {
            let (symbols, contexts) = (&symbols[row.clone()], &mut contexts[row]);
            let cost = |class: usize| {
                let elements = contexts.iter().zip(symbols);
                let cost = |(&column, &symbol): (&u8, &u8)| {
                    u64::from(costs[class * columns + usize::from(column)][usize::from(symbol)])
                };
                elements.map(cost).sum::<u64>()
            };
            let best = (0..self.shape.row_classes).min_by_key(|&class| cost(class));
            let class = best.expect("at least one class");
            contexts.iter_mut().for_each(|context| *context += (class * columns) as u8);
            rows.push(class as u8);
        }
    }

    /// Appends a chunk after its method: with several classes of rows the entry and the stream of
    /// these; the number of escapes and these, the number of lanes and their states, and the shared
    /// units.
    pub(crate) fn encode(
        &self,
        backend: Backend,
        position: u64,
        symbols: &[u8],
        memory: &mut EncoderMemory,
        out: &mut Vec<u8>,
    ) {
        self.choose(position, symbols, memory);
        let EncoderMemory { rows, contexts, escapes, units, streams, scratch } = memory;
        if self.shape.row_classes > 1 {
            streams.clear();
            let choice = Choice::best(backend, Suits::Maybe, None, rows);
            match choice.encode(backend, rows, out, streams, scratch) {
                Stream::Raw(plane) => out.extend_from_slice(plane),
                Stream::Coded(_) => out.extend_from_slice(streams),
            }
        }
        let tables = self.tables();
        let lanes_log = lanes_log(symbols.len());
        let mut states = [START; LANES];
        let states = &mut states[..1 << lanes_log];
        escapes.clear();
        units.clear();
        for (i, (&symbol, &context)) in symbols.iter().zip(&*contexts).enumerate().rev() {
            let mut range = tables.range(context, symbol);
            if range.0 == 0 || symbol == self.escape {
                escapes.push(symbol);
                range = tables.range(context, self.escape);
            }
            let (freq, start) = range;
            let state = &mut states[i & ((1 << lanes_log) - 1)];
            if *state >> (32 - SLOT_BITS) >= freq {
                units.push((*state as u16).to_le_bytes());
                *state >>= 16;
            }
            *state = ((*state / freq) << SLOT_BITS) + *state % freq + start;
        }
        varint::write(escapes.len() as u64, out);
        out.extend(escapes.iter().rev());
        out.push(lanes_log);
        out.extend(states.iter().flat_map(|s| s.to_le_bytes()));
        out.extend(units.iter().rev().flatten());
    }
}
