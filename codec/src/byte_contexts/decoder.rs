//! From the stream of symbols in contexts to bytes.

use at1w_simd::Backend;
use at1w_simd::byte_contexts::{self, LANES, START};

use super::model::ByteContexts;
use crate::DecodeError;
use crate::cursor::Cursor;
use crate::plane::{Entry, OwnTables};

/// Decodes a chunk after its method: the elements from `position` on. `rows` and `contexts` are
/// memory.
pub(crate) fn decode(
    backend: Backend,
    model: &ByteContexts,
    position: u64,
    mut input: Cursor<'_>,
    (rows, contexts): (&mut Vec<u8>, &mut Vec<u8>),
    own: &mut OwnTables,
    out: &mut [u8],
) -> Result<(), DecodeError> {
    let (shape, n) = (model.shape, out.len());
    rows.clear();
    if shape.row_classes > 1 {
        rows.resize(shape.row_count(position, n), 0);
        let entry = Entry::read(0, rows.len(), &mut input)?;
        let coded = entry.open(0, rows.len(), None, own, &mut input)?;
        coded.decode(backend, rows)?;
        if rows.iter().any(|&class| usize::from(class) >= shape.row_classes) {
            return Err(DecodeError::Contexts);
        }
    }
    model.column_classes(position, n, contexts);
    for (row, &class) in shape.rows(position, n).zip(&*rows) {
        let first = class * shape.column_classes as u8;
        contexts[row].iter_mut().for_each(|context| *context += first);
    }

    let count = input.length()?;
    let mut escapes = input.split(count)?;
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
    let (mut units, odd) = input.rest().as_chunks();
    if !odd.is_empty() {
        return Err(DecodeError::LaneEnd);
    }
    let tables = model.tables();
    let mut done = 0;
    if lanes == LANES {
        done = byte_contexts::decode(backend, tables, &mut states, &mut units, contexts, out);
    }
    let elements = out.iter_mut().zip(&*contexts).enumerate().skip(done);
    for (i, (symbol, &context)) in elements {
        let unit = units.first().map(|unit| u16::from_le_bytes(*unit));
        let refilled;
        (*symbol, refilled) = tables.step(context, &mut states[i % lanes], unit.unwrap_or(0));
        if refilled {
            units = units.get(1..).ok_or(DecodeError::Truncated)?;
        }
    }
    if !units.is_empty() || states.iter().any(|&state| state != START) {
        return Err(DecodeError::LaneEnd);
    }
    // Few groups have an escape, and a look at all of a group shows that.
    for group in out.chunks_mut(32) {
        if group.iter().fold(false, |any, &symbol| any | (symbol == model.escape)) {
            for symbol in group.iter_mut().filter(|symbol| **symbol == model.escape) {
                *symbol = *escapes.split_off_first().ok_or(DecodeError::Escapes)?;
            }
        }
    }
    if escapes.is_empty() { Ok(()) } else { Err(DecodeError::Escapes) }
}
