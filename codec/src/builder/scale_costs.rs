//! The second pass over a tensor: the cost of its planes under each scale that is possible.

use std::ops::Range;

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::byte_statistics::ByteStatistics;
use super::plane_statistics::PlaneStatistics;
use super::sample::{middle, sample};
use crate::cost::{BYTE, Cost, Counted};
use crate::counts::Counts;
use crate::model::Model;
use crate::plane::statistics::Flush;
use crate::planes::Planes;
use crate::scale::{Scale, Scaled};
use crate::tables::Tables;

/// A scale has to win one part in this of the raw bytes over the model without.
const MIN_SCALE_GAIN: u64 = 512;

/// The index of the first candidate with a scale.
const FIRST_SCALED: usize = 1;

/// Returns the planes that no scale changes, but for the bit by which words are rotated more: all
/// but the two highest ones, and the lowest one, which has the sign and maybe another high bit.
fn unscaled(layout: Layout) -> Range<usize> {
    1..layout.width().saturating_sub(2).max(1)
}

/// Counts under each scale that is possible.
#[derive(Clone, Debug)]
pub(super) struct ScaleCosts {
    layout: Layout,
    /// Whether this is to rule scales out.
    trial: bool,
    /// Whether a trial has counted all that would be counted otherwise.
    whole: bool,
    /// How many elements were counted.
    counted: u64,
    /// None first, then those with scales.
    candidates: Vec<Candidate>,
    /// Statistics of all bytes, if the layout is one plane.
    bytes: Option<Box<ByteStatistics>>,
    scratch: Scratch,
}

/// A model that is possible.
#[derive(Clone, Debug)]
struct Candidate {
    scale: Option<Scale>,
    /// How many bytes of the model the scale takes.
    scale_len: usize,
    /// Statistics of the plane of row steps, then of the planes of elements.
    sums: Vec<PlaneStatistics>,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    planes: Planes,
    scaled: Scaled,
}

/// Elements of a chunk by which most scales are ruled out.
const TRIAL: usize = 1 << 13;

/// A scale is ruled out if another one seems to save one part in this of the raw bytes beyond it.
const TRIAL_MARGIN: u64 = 768;

/// Tables, which a trial does not make, may cost so much less under one scale than another.
const TRIAL_TABLES: Cost = 64 * BYTE;

/// The most scales that are left after a trial. Without a trial, there are no more.
const MOST_LEFT: usize = 2;

impl ScaleCosts {
    /// Starts with few elements of each chunk if there are many scales, to rule most of them out.
    pub(super) fn new(layout: Layout, scales: Vec<Option<Scale>>) -> Self {
        let trial = scales.len() > FIRST_SCALED + MOST_LEFT;
        let candidates = scales.into_iter().map(|scale| Candidate::new(layout, scale)).collect();
        let bytes = (layout == Layout::BYTES).then(Box::default);
        let scratch = Scratch::default();
        Self { layout, trial, whole: true, counted: 0, candidates, bytes, scratch }
    }

    pub(super) fn add(&mut self, backend: Backend, position: u64, raw: &[u8]) {
        let width = self.layout.width();
        let elements = raw.len() / width;
        if let Some(bytes) = &mut self.bytes {
            bytes.add(backend, raw);
        }
        let (skipped, counted) = sample(width, 1, raw);
        let most = counted.len() / width;
        let (skipped, raw) = match self.trial {
            true => middle(width, 1, TRIAL, raw),
            false => (skipped, counted),
        };
        let counted = raw.len() / width;
        self.whole &= counted == most;
        let flush = Flush::of(elements).part(counted, elements);
        self.counted += counted as u64;
        for (i, candidate) in self.candidates.iter_mut().enumerate() {
            let all = i <= FIRST_SCALED;
            let part = Part { position: position + skipped, raw, all, flush, of: most };
            candidate.add(backend, self.layout, part, &mut self.scratch);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counted += other.counted;
        self.whole &= other.whole;
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

    /// Whether this is to rule scales out.
    pub(super) fn is_trial(&self) -> bool {
        self.trial
    }

    /// Ends a trial: returns the costs of the scales that may be the cheapest, and whether another
    /// pass has to count for them.
    pub(super) fn end_trial(mut self, elements: u64) -> (Self, bool) {
        self.share_unscaled();
        let counted = Counted { elements, counted: self.counted };
        let raw = elements * self.layout.width() as u64 * BYTE;
        let costs: Vec<Cost> = self.candidates.iter().map(|c| c.estimate(counted)).collect();
        let mut scaled = costs[FIRST_SCALED..].to_vec();
        scaled.sort_unstable();
        let limit = scaled[0].min(costs[0].saturating_sub(raw / MIN_SCALE_GAIN));
        let limit = scaled[MOST_LEFT - 1].min(limit + raw / TRIAL_MARGIN + TRIAL_TABLES);
        let mut costs = costs.into_iter().enumerate();
        let mut is_left = || costs.next().is_some_and(|(i, c)| i < FIRST_SCALED || c <= limit);
        self.candidates.retain(|_| is_left());
        self.trial = false;
        if self.whole {
            return (self, false);
        }
        for candidate in &mut self.candidates {
            candidate.sums.fill(PlaneStatistics::default());
        }
        let bytes = self.bytes.map(|_| Box::default());
        (Self { whole: true, counted: 0, bytes, ..self }, true)
    }

    /// Takes the planes that no scale changes from the first scale.
    fn share_unscaled(&mut self) {
        let planes = unscaled(self.layout);
        if let [_, first, others @ ..] = &mut self.candidates[..] {
            for other in others {
                let (_, sums) = other.sums.split_first_mut().expect("one for the rows");
                first.sums[1..][planes.clone()].iter().for_each(PlaneStatistics::settle);
                sums[planes.clone()].clone_from_slice(&first.sums[1..][planes.clone()]);
            }
        }
    }

    /// Returns the cheapest model for a tensor of so many elements, with the cheapest table for
    /// each plane, and the cost of the tensor with it.
    pub(super) fn build(mut self, elements: u64) -> (Model, Cost) {
        self.share_unscaled();
        let counted = Counted { elements, counted: self.counted };
        let gain = elements * self.layout.width() as u64 * BYTE / MIN_SCALE_GAIN;
        let mut candidates = self.candidates.into_iter();
        let plain = candidates.next().expect("none is always one of them");
        // Those that may cost least come first: mostly no other one has to be built.
        let mut candidates: Vec<_> = candidates.map(|c| (c.floor(counted), c)).collect();
        candidates.sort_by_key(|(floor, _)| *floor);
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
        for (floor, candidate) in candidates {
            if floor >= limit {
                break;
            }
            let (other, other_cost) = candidate.build(self.layout, counted);
            if other_cost < limit {
                (model, cost, limit) = (other, other_cost, other_cost);
            }
        }
        (model, cost)
    }
}

/// The part of a chunk that is counted.
struct Part<'a> {
    position: u64,
    raw: &'a [u8],
    /// Whether the planes that no scale changes are counted.
    all: bool,
    /// The cost of lanes for the elements.
    flush: Flush,
    /// The elements that would be counted if the part were whole.
    of: usize,
}

impl Candidate {
    fn new(layout: Layout, scale: Option<Scale>) -> Self {
        let mut own = Vec::new();
        scale.iter().for_each(|scale| scale.write(&mut own));
        let sums = vec![PlaneStatistics::default(); 1 + layout.width()];
        Self { scale, scale_len: own.len(), sums }
    }

    /// Takes elements of a chunk.
    fn add(&mut self, backend: Backend, layout: Layout, part: Part<'_>, scratch: &mut Scratch) {
        let Scratch { planes, scaled } = scratch;
        let Part { position, raw, all, flush, of } = part;
        let (row_sum, sums) = self.sums.split_first_mut().expect("one for the rows");
        match &self.scale {
            None => planes.split(backend, layout, raw),
            Some(scale) => {
                scaled.split(backend, scale, layout, position, raw, planes);
                let rows = scaled.rows.len();
                let elements = raw.len() / layout.width();
                let all_rows = rows * of / elements.max(1);
                row_sum.count(backend, &scaled.rows, Flush::of(all_rows).part(elements, of));
            }
        }
        let width = layout.width();
        let unscaled = unscaled(layout);
        for (i, (plane, sum)) in planes.iter().zip(sums).enumerate() {
            if !all && unscaled.contains(&i) {
                continue;
            }
            if self.scale.is_some() && i + 1 == width {
                sum.count(backend, plane, flush);
            } else {
                sum.add(backend, plane, flush);
            }
        }
    }

    /// Returns about what the tensor costs with this scale.
    fn estimate(&self, counted: Counted) -> Cost {
        let total = self.sums.iter().map(PlaneStatistics::estimate).sum();
        counted.extend(total) + self.scale_len as Cost * BYTE
    }

    /// Returns a cost that the tensor is not below with this scale.
    fn floor(&self, counted: Counted) -> Cost {
        let total = self.sums.iter().map(PlaneStatistics::floor).sum();
        counted.extend(total) + self.scale_len as Cost * BYTE
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
        let own = model.written_len(self.scale_len);
        debug_assert_eq!(own, model.to_bytes().len());
        let own = own as Cost * BYTE;
        (model, counted.extend(total) + own)
    }
}
