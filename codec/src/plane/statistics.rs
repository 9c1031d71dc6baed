//! Finding out how well a plane can be coded, before it is coded.

use at1w_simd::Backend;

use super::packed::Packing;
use crate::cost::{self, BIT, BYTE, Cost};
use crate::counts::{Counts, count};
use crate::{alias, lanes};

/// A coder has to win one part in this of a plane over a simpler one, or it is not worth the time
/// that every reader would spend on it.
pub(crate) const MIN_CODING_GAIN: u64 = 128;

/// The best tables code about one part in this worse than an ideal coder.
const TABLE_LOSS: u64 = 256;

/// A natural unit of information: 1 / ln 2 bits.
const UNIT: Cost = BIT * 1443 / 1000;

/// Pieces of a large plane that make up a sample, and the symbols of each.
const PIECES: usize = 16;
const PIECE: usize = 512;

/// Planes of fewer symbols are not sampled.
pub(crate) const MIN_SAMPLED: usize = 1 << 15;

/// The cost of the lanes of planes beside their symbols, for each kind of lanes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flush {
    pub(crate) lanes: Cost,
    pub(crate) alias: Cost,
}

impl Flush {
    /// Returns the cost for a plane of `n` symbols.
    pub(crate) fn of(n: usize) -> Self {
        Self { lanes: lanes::flush_cost(n), alias: alias::flush_cost(n) }
    }

    /// Returns the cost for a part of the symbols of a plane.
    pub(crate) fn part(self, symbols: usize, of: usize) -> Self {
        let part = |cost: Cost| cost * symbols as Cost / of.max(1) as Cost;
        Self { lanes: part(self.lanes), alias: part(self.alias) }
    }

    /// Adds the cost for another plane.
    pub(crate) fn add(&mut self, other: Self) {
        self.lanes += other.lanes;
        self.alias += other.alias;
    }
}

/// Returns the cost that coding a plane of `n` symbols must stay below, or it is kept raw.
pub(crate) fn limit(n: u64) -> Cost {
    let raw = n * BYTE;
    raw - raw / MIN_CODING_GAIN
}

/// Returns the symbol of a plane in which all are the same.
pub(crate) fn constant(plane: &[u8]) -> Option<u8> {
    let (&first, rest) = plane.split_first()?;
    // Equal to itself one further on; found out early where not.
    (*rest == plane[..rest.len()]).then_some(first)
}

/// Returns about what symbols of this entropy cost with a table of their own.
pub(crate) fn estimate(floor: Cost, flush: Flush) -> Cost {
    floor + floor / TABLE_LOSS + flush.lanes
}

/// Returns the counts of a sample of a large plane: to count all of it takes longer than most that
/// is done with it. Small planes are never judged by a sample.
pub(crate) fn sample(backend: Backend, plane: &[u8]) -> Option<Counts> {
    if plane.len() < MIN_SAMPLED {
        return None;
    }
    // Together, since a histogram takes some time however few its symbols are.
    let mut symbols = [[0; PIECE]; PIECES];
    for (piece, plane) in symbols.iter_mut().zip(plane.chunks(plane.len() / PIECES)) {
        piece.copy_from_slice(&plane[..PIECE]);
    }
    Some(count(backend, symbols.as_flattened()))
}

/// Returns whether a plane of which a sample has these counts looks too random to be coded by them.
pub(crate) fn looks_random(sample: &Counts) -> bool {
    // Bits that never change cost nothing to leave out: it matters how random the others are.
    let most = match Packing::best(sample) {
        Some((_, cost)) => cost,
        None => sample.iter().sum::<u64>() * BYTE,
    };
    // A sample has less entropy than the whole: by half a unit for each symbol (G. A. Miller, "Note
    // on the bias of information estimates", 1955).
    let symbols = sample.iter().filter(|&&count| count > 0).count() as u64;
    let missing = symbols * UNIT / 2;
    cost::entropy_floor(sample) + missing >= most - most / MIN_CODING_GAIN
}
