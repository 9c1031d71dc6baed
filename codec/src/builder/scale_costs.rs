//! The second pass over a tensor: what its planes would be under each scale that is possible.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::plane_statistics::PlaneStatistics;
use super::{Whole, sample};
use crate::cost::{BYTE, Cost};
use crate::lanes;
use crate::model::Model;
use crate::planes::Planes;
use crate::scale::Scale;

/// What a scale has to win over the model without, as a part of the raw bytes.
const MIN_GAIN: u64 = 512;

/// Counts under each scale that is possible.
#[derive(Clone, Debug)]
pub(super) struct ScaleCosts {
    layout: Layout,
    /// How many elements were counted.
    counted: u64,
    candidates: Vec<Candidate>,
    scratch: Scratch,
}

/// A model that is possible.
#[derive(Clone, Debug)]
struct Candidate {
    scale: Option<Scale>,
    /// Of the row offsets, then of the planes.
    sums: Vec<PlaneStatistics>,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    planes: Planes,
    words: Vec<u8>,
    rows: Vec<u8>,
    row_offsets: Vec<u16>,
}

impl ScaleCosts {
    pub(super) fn new(layout: Layout, scales: Vec<Option<Scale>>) -> Self {
        let candidates = scales.into_iter().map(|scale| Candidate::new(layout, scale)).collect();
        Self { layout, counted: 0, candidates, scratch: Scratch::default() }
    }

    pub(super) fn add(&mut self, backend: Backend, position: u64, raw: &[u8]) {
        let width = self.layout.width();
        let elements = raw.len() / width;
        let (skipped, raw) = sample(width, 1, raw);
        let counted = (raw.len() / width) as Cost;
        let flush = lanes::flush_cost(elements) * counted / elements.max(1) as Cost;
        self.counted += counted;
        for candidate in &mut self.candidates {
            let position = position + skipped;
            candidate.add(backend, self.layout, position, raw, flush, &mut self.scratch);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counted += other.counted;
        for (candidate, other) in self.candidates.iter_mut().zip(&other.candidates) {
            for (sum, other) in candidate.sums.iter_mut().zip(&other.sums) {
                sum.merge(other);
            }
        }
    }

    /// The cheapest model for a tensor of so many elements, with the cheapest table for each plane,
    /// and what the tensor costs with it.
    pub(super) fn build(self, elements: u64) -> (Model, Cost) {
        let whole = Whole { elements, counted: self.counted };
        let gain = elements * self.layout.width() as u64 * BYTE / MIN_GAIN;
        let mut candidates = self.candidates.into_iter();
        let plain = candidates.next().expect("none is always one of them");
        let (mut model, mut cost) = plain.build(self.layout, whole);
        let mut limit = cost.saturating_sub(gain);
        for candidate in candidates {
            let (other, other_cost) = candidate.build(self.layout, whole);
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

    /// `flush` is what lanes cost these elements.
    fn add(
        &mut self,
        backend: Backend,
        layout: Layout,
        position: u64,
        raw: &[u8],
        flush: Cost,
        scratch: &mut Scratch,
    ) {
        let Scratch { planes, words, rows, row_offsets } = scratch;
        let (row_sum, sums) = self.sums.split_first_mut().expect("one for the rows");
        match &self.scale {
            None => planes.split(backend, layout, raw),
            Some(scale) => {
                words.clear();
                words.extend_from_slice(raw);
                scale.measure_rows(backend, layout.width(), position, words, rows);
                scale.row_offsets(rows, row_offsets);
                scale.apply(backend, layout.width(), position, row_offsets, words);
                planes.split(backend, layout, words);
                row_sum.count(backend, rows, lanes::flush_cost(rows.len()));
            }
        }
        planes.iter().zip(sums).for_each(|(plane, sum)| sum.add(backend, plane, flush));
    }

    /// The model, and what the tensor costs with it.
    fn build(self, layout: Layout, whole: Whole) -> (Model, Cost) {
        let mut total = 0;
        let tables = self.sums.iter().map(|sum| {
            let (table, cost) = sum.best();
            total += cost;
            table
        });
        let tables = tables.collect();
        let model = Model::new(layout, self.scale, tables);
        let own = model.to_bytes().len() as Cost * BYTE;
        (model, whole.of(total) + own)
    }
}
