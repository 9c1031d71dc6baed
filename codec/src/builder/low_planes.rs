//! The planes below the top 16 bits.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::plane_statistics::PlaneStatistics;
use crate::cost::{Cost, Counted};
use crate::plane::statistics::Flush;
use crate::planes::Planes;
use crate::tables::Tables;

/// Statistics of the low planes. Scales and contexts leave these as they are.
#[derive(Clone, Debug)]
pub(super) struct LowPlanes {
    planes: Planes,
    sums: Vec<PlaneStatistics>,
    counted: u64,
}

impl LowPlanes {
    pub(super) fn new(layout: Layout) -> Self {
        let sums = vec![PlaneStatistics::default(); layout.width().saturating_sub(2)];
        Self { planes: Planes::default(), sums, counted: 0 }
    }

    pub(super) fn add(&mut self, backend: Backend, layout: Layout, raw: &[u8]) {
        self.counted += (raw.len() / layout.width()) as u64;
        self.planes.split(backend, layout.unrotated(), raw);
        let sums = self.planes.iter().zip(&mut self.sums);
        sums.for_each(|(plane, sum)| sum.add(backend, plane, Flush::of(plane.len())));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counted += other.counted;
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| a.merge(b));
    }

    /// Returns tables for all planes of a model, and the cost of the low planes in the whole
    /// tensor.
    pub(super) fn build(&self, layout: Layout, elements: u64) -> (Tables, Cost) {
        let counted = Counted { elements, counted: self.counted };
        let mut tables = Tables::none(layout);
        let mut total = 0;
        for (table, sum) in tables.planes_mut().iter_mut().zip(&self.sums) {
            let (best, cost) = sum.best(true);
            *table = best.map(Box::new);
            total += cost;
        }
        (tables, counted.extend(total))
    }
}
