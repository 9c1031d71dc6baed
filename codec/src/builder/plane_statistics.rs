//! Statistics of one plane of all chunks.

use at1w_simd::Backend;

use crate::cost::{BYTE, Cost};
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
}

impl Default for PlaneStatistics {
    fn default() -> Self {
        Self { counts: [0; 256], flush: Flush::default(), random: 0 }
    }
}

impl PlaneStatistics {
    /// Takes symbols that were counted, for which lanes would cost `flush` beside them.
    pub(super) fn of(counts: Counts, flush: Flush) -> Self {
        Self { counts, flush, random: 0 }
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
    }

    /// Takes the chunks that another one has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.flush.add(other.flush);
        self.random += other.random;
    }

    /// Returns about what the plane costs in the chunks that were seen, without making a table.
    pub(super) fn estimate(&self) -> Cost {
        let raw = self.counts.iter().sum::<u64>() * BYTE;
        let simple = Packing::best(&self.counts).map_or(raw, |(_, cost)| cost.min(raw));
        let coded = statistics::estimate(&self.counts, self.flush);
        let is_worth_it = coded < simple - simple / statistics::MIN_CODING_GAIN;
        self.random + if is_worth_it { coded } else { simple }
    }

    /// Returns the cheapest table, if one is worth it, and the cost of the plane with it in the
    /// chunks that were seen.
    /// Only for one of several planes, the table may be an alias table: see [`ByteStatistics`].
    ///
    /// [`ByteStatistics`]: super::byte_statistics::ByteStatistics
    pub(super) fn best(&self, several: bool) -> (Option<PlaneTable>, Cost) {
        let packed = Packing::best(&self.counts).map(|(_, cost)| cost);
        let limit = statistics::limit(self.counts.iter().sum());
        let limit = limit.min(packed.unwrap_or(Cost::MAX));
        let best = match several {
            true => PlaneTable::best(&self.counts, self.flush, limit),
            false => PlaneTable::best_own(&self.counts, self.flush, limit),
        };
        match best {
            Some((table, cost)) => (Some(table), self.random + cost),
            None => (None, self.random + limit),
        }
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
