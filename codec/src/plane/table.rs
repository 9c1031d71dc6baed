//! The table of an entropy coder, of any kind: a model keeps it for a plane, or a stream begins
//! with it.

use super::statistics::{Flush, MIN_CODING_GAIN};
use crate::DecodeError;
use crate::alias::AliasTable;
use crate::cost::{BYTE, Cost};
use crate::counts::Counts;
use crate::cursor::Cursor;
use crate::huffman::HuffmanTable;
use crate::lanes::LaneTable;

/// An entropy coder's table for one plane.
///
/// It is no smaller than its larger kind: a chunk may need one, and then it must not allocate.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a chunk's own table must not be on the heap")]
pub(crate) enum PlaneTable {
    Huffman(HuffmanTable),
    Lanes(LaneTable),
    /// Only in a model.
    Alias(AliasTable),
}

/// An alias table has to win one part in this over a Huffman table: parts of a chunk that have no
/// table of the model would be larger for it.
const MIN_ALIAS_GAIN: u64 = 1024;

/// Kinds of a stored table.
const NONE: u8 = 0;
const HUFFMAN: u8 = 1;
const LANES: u8 = 2;
const ALIAS: u8 = 3;

impl PlaneTable {
    /// Returns the cheapest table for a model, for symbols with these counts, its own bytes
    /// included, and its cost, if that is less than `limit`. `floor` is the
    /// [entropy](crate::cost::entropy_floor).
    pub(crate) fn best(
        counts: &Counts,
        floor: Cost,
        flush: Flush,
        limit: Cost,
    ) -> Option<(Self, Cost)> {
        let own = Self::best_own(counts, floor, flush, limit);
        Self::or_alias(own, counts, floor, flush, limit)
    }

    /// Returns an alias table if it is cheap enough beside the best other one, which costs less
    /// than `limit`.
    pub(crate) fn or_alias(
        best: Option<(Self, Cost)>,
        counts: &Counts,
        floor: Cost,
        flush: Flush,
        limit: Cost,
    ) -> Option<(Self, Cost)> {
        // Alias lanes decode slower than others, and faster than Huffman codes.
        let limit = match best {
            Some((Self::Lanes(_), cost)) => cost - cost / MIN_CODING_GAIN,
            Some((_, cost)) => cost - cost / MIN_ALIAS_GAIN,
            None => limit,
        };
        if floor + flush.alias >= limit {
            return best;
        }
        let alias = AliasTable::best(counts, flush.alias, limit);
        alias.map(|(table, cost)| (Self::Alias(table), cost)).or(best)
    }

    /// Returns a cost that no table for symbols with these counts is below, its own bytes included.
    pub(crate) fn floor(counts: &Counts, floor: Cost, flush: Flush) -> Cost {
        let huffman = HuffmanTable::written_len_of(counts) as Cost * BYTE;
        floor + huffman.min(flush.lanes).min(flush.alias)
    }

    /// Returns the cheapest table that a stream can begin with, as [`PlaneTable::best`] does.
    pub(crate) fn best_own(
        counts: &Counts,
        floor: Cost,
        flush: Flush,
        limit: Cost,
    ) -> Option<(Self, Cost)> {
        let flush = flush.lanes;
        // Most tables of small planes can't win, as their least costs show without building them.
        let lanes = (floor + flush < limit).then(|| LaneTable::best(counts, flush, limit));
        let lanes = lanes.flatten().map(|(table, cost)| (Self::Lanes(table), cost));
        // Lanes decode faster: Huffman has to win by enough.
        let limit = lanes.as_ref().map_or(limit, |&(_, cost)| cost - cost / MIN_CODING_GAIN);
        if floor + HuffmanTable::written_len_of(counts) as Cost * BYTE >= limit {
            return lanes;
        }
        let huffman = HuffmanTable::best(counts, limit);
        huffman.map(|(table, cost)| (Self::Huffman(table), cost)).or(lanes)
    }

    /// Appends the table, without its kind.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Huffman(table) => table.write(out),
            Self::Lanes(table) => table.write(out),
            Self::Alias(table) => table.write(out),
        }
    }

    /// Counts the bytes that [`PlaneTable::write`] appends.
    pub(crate) fn written_len(&self) -> usize {
        match self {
            Self::Huffman(table) => table.written_len(),
            Self::Lanes(table) => table.written_len(),
            Self::Alias(table) => table.written_len(),
        }
    }

    /// Appends the kind of the table, and the table.
    pub(crate) fn write_kind(table: Option<&Self>, out: &mut Vec<u8>) {
        out.push(match table {
            None => NONE,
            Some(Self::Huffman(_)) => HUFFMAN,
            Some(Self::Lanes(_)) => LANES,
            Some(Self::Alias(_)) => ALIAS,
        });
        if let Some(table) = table {
            table.write(out);
        }
    }

    /// Reads what [`PlaneTable::write_kind`] wrote. `plane` is for errors.
    pub(crate) fn read_kind(
        plane: usize,
        input: &mut Cursor<'_>,
    ) -> Result<Option<Box<Self>>, DecodeError> {
        Ok(match input.u8()? {
            NONE => None,
            HUFFMAN => {
                let mut table = Box::new(Self::Huffman(HuffmanTable::NONE));
                if let Self::Huffman(table) = &mut *table {
                    table.read_over(0, input)?;
                }
                Some(table)
            }
            LANES => Some(Box::new(Self::Lanes(LaneTable::read(input)?))),
            ALIAS => Some(Box::new(Self::Alias(AliasTable::read(input)?))),
            kind => return Err(DecodeError::UnknownTable { plane, kind }),
        })
    }

    /// Returns whether the table can code any symbol.
    pub(crate) fn codes_all(&self) -> bool {
        match self {
            Self::Huffman(table) => table.codes_all(),
            Self::Lanes(table) => table.codes_all(),
            Self::Alias(table) => table.codes_all(),
        }
    }

    /// Returns the cost of a plane with these counts; `None` if this table can't code it.
    pub(crate) fn cost(&self, counts: &Counts, flush: Flush) -> Option<Cost> {
        match self {
            Self::Huffman(table) => table.cost(counts),
            Self::Lanes(table) => table.cost(counts, flush.lanes),
            Self::Alias(table) => table.cost(counts, flush.alias),
        }
    }
}
