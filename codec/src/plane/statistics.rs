//! Finding out how well a plane can be coded, before it is coded.

use at1w_simd::Backend;
use at1w_simd::histogram;

use super::packed::Packing;
use crate::cost::{self, BYTE, Cost};
use crate::counts::Counts;
use crate::{alias, lanes};

/// A coder has to win one part in this of a plane over a simpler one, or it is not worth the time
/// that every reader would spend on it.
pub(crate) const MIN_CODING_GAIN: u64 = 128;

/// Symbols of a sample of a large plane: this many pieces of this many.
const SAMPLE: (usize, usize) = (16, 1024);

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

/// Returns the counts of a sample, if a large plane looks too random to be coded by them. This
/// saves counting all of it, which would take longer than anything else. Small planes are never
/// judged by a sample.
pub(crate) fn random_sample(backend: Backend, plane: &[u8]) -> Option<Counts> {
    let (pieces, len) = SAMPLE;
    if plane.len() < 2 * pieces * len {
        return None;
    }
    let mut counts = [0; 256];
    for piece in plane.chunks(plane.len() / pieces).take(pieces) {
        histogram::add(backend, &piece[..len], &mut counts);
    }
    let counts = counts.map(u64::from);
    // Bits that never change cost nothing to leave out: it matters how random the others are.
    let most = match Packing::best(&counts) {
        Some((_, cost)) => cost,
        None => (pieces * len) as u64 * BYTE,
    };
    (cost::entropy_floor(&counts) >= most - most / MIN_CODING_GAIN).then_some(counts)
}
