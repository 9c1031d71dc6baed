//! Statistics of all bytes of an 8-bit tensor, for tables of finer frequencies than those that a
//! sample is enough for.

use at1w_simd::Backend;

use crate::cost::{BYTE, Cost, entropy_floor};
use crate::counts::{Counts, count};
use crate::plane::packed::Packing;
use crate::plane::statistics::{self, Flush};
use crate::plane::table::PlaneTable;

/// Sums over the chunks that were seen.
#[derive(Clone, Debug)]
pub(super) struct ByteStatistics {
    pub(super) counts: Counts,
    flush: Flush,
}

impl Default for ByteStatistics {
    fn default() -> Self {
        Self { counts: [0; 256], flush: Flush::default() }
    }
}

impl ByteStatistics {
    pub(super) fn add(&mut self, backend: Backend, raw: &[u8]) {
        let counts = count(backend, raw);
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        self.flush.add(Flush::of(raw.len()));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.flush.add(other.flush);
    }

    /// Counts the bytes that were seen.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns an alias table that is worth it beside the table that a sample chose, and the cost
    /// of the bytes that were seen with it.
    pub(super) fn alias(&self, chosen: Option<&PlaneTable>) -> Option<(PlaneTable, Cost)> {
        let packed = Packing::best(&self.counts).map_or(Cost::MAX, |(_, cost)| cost);
        let limit = statistics::limit(self.total()).min(packed);
        let chosen = chosen.and_then(|table| {
            let cost = table.cost(&self.counts, self.flush)? + table.written_len() as Cost * BYTE;
            Some((table.clone(), cost))
        });
        let best = chosen.filter(|(_, cost)| *cost < limit);
        let floor = entropy_floor(&self.counts);
        let best = best.or_else(|| PlaneTable::best_own(&self.counts, floor, self.flush, limit));
        match PlaneTable::or_alias(best, &self.counts, floor, self.flush, limit) {
            Some((table @ PlaneTable::Alias(_), cost)) => Some((table, cost)),
            _ => None,
        }
    }
}
