//! Statistics of one plane of all chunks.

use std::sync::OnceLock;

use at1w_simd::Backend;

use crate::cost::{self, BYTE, Cost};
use crate::counts::{Counts, count};
use crate::plane::packed::Packing;
use crate::plane::statistics::{self, Flush};
use crate::plane::table::PlaneTable;

/// Sums over the chunks that were seen.
#[derive(Clone, Debug)]
pub(super) struct PlaneStatistics {
    /// Counts of the chunks in which the plane does not look random.
    counts: Counts,
    flush: Flush,
    /// The cost of the plane in the chunks in which it looks random.
    random: Cost,
    /// Bounds by the counts, when they were asked for.
    bounds: OnceLock<Bounds>,
}

/// Costs of symbols that are known without a table for them.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The entropy.
    floor: Cost,
    /// The cost with the best packing, if there is any.
    packed: Option<Cost>,
    raw: Cost,
}

impl Default for PlaneStatistics {
    fn default() -> Self {
        Self::of([0; 256], Flush::default())
    }
}

impl PlaneStatistics {
    /// Takes symbols that were counted, for which lanes would cost `flush` beside them.
    pub(super) fn of(counts: Counts, flush: Flush) -> Self {
        Self { counts, flush, random: 0, bounds: OnceLock::new() }
    }

    /// Takes the plane of a chunk, for which lanes would cost `flush` beside their symbols.
    pub(super) fn add(&mut self, backend: Backend, plane: &[u8], flush: Flush) {
        match statistics::sample(backend, plane).filter(statistics::looks_random) {
            Some(sample) => self.random += random_cost(plane.len() as u64, &sample),
            None => self.count(backend, plane, flush),
        }
    }

    /// Takes the plane of a chunk, even if it looks random.
    pub(super) fn count(&mut self, backend: Backend, plane: &[u8], flush: Flush) {
        let counts = count(backend, plane);
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        self.flush.add(flush);
        self.bounds.take();
    }

    /// Takes the chunks that another one has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.flush.add(other.flush);
        self.random += other.random;
        self.bounds.take();
    }

    /// Finds the bounds, so that copies know them.
    pub(super) fn settle(&self) {
        self.bounds();
    }

    fn bounds(&self) -> Bounds {
        let bounds = || Bounds {
            floor: cost::entropy_floor(&self.counts),
            packed: Packing::best(&self.counts).map(|(_, cost)| cost),
            raw: self.counts.iter().sum::<u64>() * BYTE,
        };
        *self.bounds.get_or_init(bounds)
    }

    /// Returns about what the plane costs in the chunks that were seen, without making a table.
    pub(super) fn estimate(&self) -> Cost {
        let Bounds { floor, packed, raw } = self.bounds();
        let simple = packed.map_or(raw, |cost| cost.min(raw));
        let coded = statistics::estimate(floor, self.flush);
        let is_worth_it = coded < simple - simple / statistics::MIN_CODING_GAIN;
        self.random + if is_worth_it { coded } else { simple }
    }

    /// Returns the cheapest table, if one is worth it, and the cost of the plane with it in the
    /// chunks that were seen.
    /// Only for one of several planes, the table may be an alias table: see [`ByteStatistics`].
    ///
    /// [`ByteStatistics`]: super::byte_statistics::ByteStatistics
    pub(super) fn best(&self, several: bool) -> (Option<PlaneTable>, Cost) {
        let (simple, limit) = self.without_table();
        let floor = self.bounds().floor;
        let best = match several {
            true => PlaneTable::best(&self.counts, floor, self.flush, limit),
            false => PlaneTable::best_own(&self.counts, floor, self.flush, limit),
        };
        match best {
            Some((table, cost)) => (Some(table), self.random + cost),
            None => (None, self.random + simple),
        }
    }

    /// Returns a cost that [`PlaneStatistics::best`] is not below.
    pub(super) fn floor(&self) -> Cost {
        let (simple, limit) = self.without_table();
        let floor = PlaneTable::floor(&self.counts, self.bounds().floor, self.flush);
        self.random + if floor < limit { floor } else { simple }
    }

    /// Returns the cost without a table, and what the cost with one must be below.
    fn without_table(&self) -> (Cost, Cost) {
        let Bounds { packed, raw, .. } = self.bounds();
        let (packed, raw) = (packed.unwrap_or(Cost::MAX), statistics::limit(raw / BYTE));
        (raw.min(packed), raw.min(packed - packed / statistics::MIN_CODING_GAIN))
    }
}

/// Returns the cost of `n` symbols that look random, of which a sample has these counts.
fn random_cost(n: u64, sample: &Counts) -> Cost {
    let sampled: u64 = sample.iter().sum();
    match Packing::best(sample) {
        Some((_, cost)) => (cost / sampled * n).min(n * BYTE),
        None => n * BYTE,
    }
}
