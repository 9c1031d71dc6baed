//! The planes below the top 16 bits.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::Whole;
use super::plane_statistics::PlaneStatistics;
use crate::cost::Cost;
use crate::lanes;
use crate::model::Table;
use crate::planes::Planes;

/// What is known about them: scales and contexts leave them as they are.
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
        sums.for_each(|(plane, sum)| sum.add(backend, plane, lanes::flush_cost(plane.len())));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counted += other.counted;
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| a.merge(b));
    }

    /// Tables for all planes of a model, and what these planes cost in the whole tensor.
    pub(super) fn build(&self, layout: Layout, elements: u64) -> (Vec<Option<Table>>, Cost) {
        let whole = Whole { elements, counted: self.counted };
        let mut tables = vec![None; 1 + layout.width()];
        let mut total = 0;
        for (table, sum) in tables[1..].iter_mut().zip(&self.sums) {
            let cost;
            (*table, cost) = sum.best();
            total += cost;
        }
        (tables, whole.of(total))
    }
}
