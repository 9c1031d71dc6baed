//! The second pass over a tensor: the cost of its planes under each scale that is possible.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::byte_statistics::ByteStatistics;
use super::plane_statistics::PlaneStatistics;
use super::sample::sample;
use crate::cost::{BYTE, Cost, Counted};
use crate::counts::Counts;
use crate::model::Model;
use crate::plane::statistics::Flush;
use crate::planes::Planes;
use crate::scale::{Scale, Scaled};
use crate::tables::Tables;

/// A scale has to win one part in this of the raw bytes over the model without.
const MIN_SCALE_GAIN: u64 = 512;

/// Counts under each scale that is possible.
#[derive(Clone, Debug)]
pub(super) struct ScaleCosts {
    layout: Layout,
    /// How many elements were counted.
    counted: u64,
    candidates: Vec<Candidate>,
    /// Statistics of all bytes, if the layout is one plane.
    bytes: Option<Box<ByteStatistics>>,
    scratch: Scratch,
}

/// A model that is possible.
#[derive(Clone, Debug)]
struct Candidate {
    scale: Option<Scale>,
    /// Statistics of the plane of row steps, then of the planes of elements.
    sums: Vec<PlaneStatistics>,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    planes: Planes,
    scaled: Scaled,
}

impl ScaleCosts {
    pub(super) fn new(layout: Layout, scales: Vec<Option<Scale>>) -> Self {
        let candidates = scales.into_iter().map(|scale| Candidate::new(layout, scale)).collect();
        let bytes = (layout == Layout::BYTES).then(Box::default);
        Self { layout, counted: 0, candidates, bytes, scratch: Scratch::default() }
    }

    pub(super) fn add(&mut self, backend: Backend, position: u64, raw: &[u8]) {
        let width = self.layout.width();
        let elements = raw.len() / width;
        if let Some(bytes) = &mut self.bytes {
            bytes.add(backend, raw);
        }
        let (skipped, raw) = sample(width, 1, raw);
        let counted = raw.len() / width;
        let flush = Flush::of(elements).part(counted, elements);
        self.counted += counted as u64;
        for candidate in &mut self.candidates {
            let position = position + skipped;
            candidate.add(backend, self.layout, position, raw, flush, &mut self.scratch);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counted += other.counted;
        if let (Some(bytes), Some(other)) = (&mut self.bytes, &other.bytes) {
            bytes.merge(other);
        }
        for (candidate, other) in self.candidates.iter_mut().zip(&other.candidates) {
            for (sum, other) in candidate.sums.iter_mut().zip(&other.sums) {
                sum.merge(other);
            }
        }
    }

    /// Returns the counts of all bytes, if the layout is one plane.
    pub(super) fn byte_counts(&self) -> Option<Counts> {
        Some(self.bytes.as_ref()?.counts)
    }

    /// Returns the cheapest model for a tensor of so many elements, with the cheapest table for
    /// each plane, and the cost of the tensor with it.
    pub(super) fn build(self, elements: u64) -> (Model, Cost) {
        let counted = Counted { elements, counted: self.counted };
        let gain = elements * self.layout.width() as u64 * BYTE / MIN_SCALE_GAIN;
        let mut candidates = self.candidates.into_iter();
        let plain = candidates.next().expect("none is always one of them");
        let (mut model, mut cost) = plain.build(self.layout, counted);
        if let Some(bytes) = &self.bytes
            && let Some((table, alias_cost)) = bytes.alias(model.table(0))
        {
            let mut tables = Tables::none(self.layout);
            tables.planes_mut()[0] = Some(Box::new(table));
            model = Model::new(self.layout, None, tables);
            cost = Counted { elements, counted: bytes.total() }.extend(alias_cost);
        }
        let mut limit = cost.saturating_sub(gain);
        for candidate in candidates {
            let (other, other_cost) = candidate.build(self.layout, counted);
            if other_cost < limit {
                (model, cost, limit) = (other, other_cost, other_cost);
            }
        }
        (model, cost)
    }
}

impl Candidate {
    fn new(layout: Layout, scale: Option<Scale>) -> Self {
        Self { scale, sums: vec![PlaneStatistics::default(); 1 + layout.width()] }
    }

    /// Takes elements of a chunk. `flush` is the cost of lanes for them.
    fn add(
        &mut self,
        backend: Backend,
        layout: Layout,
        position: u64,
        raw: &[u8],
        flush: Flush,
        scratch: &mut Scratch,
    ) {
        let Scratch { planes, scaled } = scratch;
        let (row_sum, sums) = self.sums.split_first_mut().expect("one for the rows");
        match &self.scale {
            None => planes.split(backend, layout, raw),
            Some(scale) => {
                scaled.scale(backend, scale, layout.width(), position, raw);
                planes.split(backend, layout, &scaled.words);
                row_sum.count(backend, &scaled.rows, Flush::of(scaled.rows.len()));
            }
        }
        planes.iter().zip(sums).for_each(|(plane, sum)| sum.add(backend, plane, flush));
    }

    /// Returns the model, and the cost of the tensor with it.
    fn build(self, layout: Layout, counted: Counted) -> (Model, Cost) {
        let mut total = 0;
        let mut tables = Tables::none(layout);
        for (table, sum) in tables.all_mut().iter_mut().zip(&self.sums) {
            let (best, cost) = sum.best(layout != Layout::BYTES);
            *table = best.map(Box::new);
            total += cost;
        }
        let model = Model::new(layout, self.scale, tables);
        let own = model.to_bytes().len() as Cost * BYTE;
        (model, counted.extend(total) + own)
    }
}
