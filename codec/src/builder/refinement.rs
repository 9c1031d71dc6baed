//! The two passes that put contexts on a model: of columns, or of elements by their prediction.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::column_moments::ColumnMoments;
use super::low_planes::LowPlanes;
use super::sample::sample;
use super::symbol_counts::{ColumnCounts, PredictedCounts};
use crate::contexts::Contexts;
use crate::cost::{BIT, BYTE, Cost};
use crate::model::Model;
use crate::prediction::{Covariance, Fit};
use crate::scale::{Scale, Scaled};
use crate::tops::{self, Tops};

/// Contexts have to win one part in this over the model without, and predictions over contexts of
/// columns: they decode slower.
const MIN_CONTEXTS_GAIN: u64 = 512;

/// The model that contexts have to beat.
#[derive(Clone, Debug)]
struct Plain {
    model: Model,
    /// The cost of the tensor with it.
    cost: Cost,
}

/// A scale, and memory to fold elements that are scaled by it.
#[derive(Clone, Debug)]
struct Folder {
    scale: Scale,
    scaled: Scaled,
    tops: Vec<u16>,
}

/// The first pass: how far the mean of each column is from zero, and how columns vary together.
#[derive(Clone, Debug)]
pub(super) struct MomentsPass {
    plain: Plain,
    folder: Folder,
    moments: ColumnMoments,
    covariance: Option<Covariance>,
}

/// The second pass: how often each symbol occurs in each context.
#[derive(Clone, Debug)]
pub(super) struct CountsPass {
    plain: Plain,
    folder: Folder,
    counts: ColumnCounts,
    predicted: Option<Predicted>,
    low_planes: LowPlanes,
}

/// Columns that are predicted from others.
#[derive(Clone, Debug)]
struct Predicted {
    folder: Folder,
    counts: PredictedCounts,
}

impl Folder {
    fn new(scale: Scale) -> Self {
        Self { scale, scaled: Scaled::default(), tops: Vec::new() }
    }

    /// Returns the top bits of the scaled elements from `position` on.
    fn fold(
        &mut self,
        backend: Backend,
        width: usize,
        shift: u8,
        position: u64,
        raw: &[u8],
    ) -> Tops<'_> {
        self.scaled.scale(backend, &self.scale, width, position, raw);
        tops::take(width, &self.scaled.words, &mut self.tops);
        Tops { shift, row_len: self.scale.row_len, position, tops: &self.tops }
    }
}

impl MomentsPass {
    /// Starts with the model without contexts, its cost, and the scale that contexts need.
    pub(super) fn new(model: Model, cost: Cost, scale: Scale, elements: u64) -> Self {
        let moments = ColumnMoments::new(scale.row_len);
        let covariance = Covariance::new(elements, scale.row_len);
        Self { plain: Plain { model, cost }, folder: Folder::new(scale), moments, covariance }
    }

    pub(super) fn add(
        &mut self,
        backend: Backend,
        layout: Layout,
        shift: u8,
        position: u64,
        raw: &[u8],
    ) {
        let tops = self.folder.fold(backend, layout.width(), shift, position, raw);
        self.moments.add(&tops);
        if let Some(covariance) = &mut self.covariance {
            covariance.add(backend, &tops);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        let both = self.covariance.iter_mut().zip(&other.covariance);
        both.for_each(|(covariance, other)| covariance.merge(other));
    }

    pub(super) fn next(self, layout: Layout, elements: u64) -> CountsPass {
        let Self { plain, folder, moments, covariance } = self;
        let scale = &folder.scale;
        let fit = covariance.and_then(|covariance| covariance.fit(elements / scale.row_len));
        let predicted = fit.map(|Fit { prediction, steps }| Predicted {
            folder: Folder::new(scale.clone().with_columns_up(&steps)),
            counts: PredictedCounts::new(prediction),
        });
        let counts = ColumnCounts::new(moments.columns());
        CountsPass { plain, folder, counts, predicted, low_planes: LowPlanes::new(layout) }
    }
}

impl CountsPass {
    pub(super) fn add(
        &mut self,
        backend: Backend,
        layout: Layout,
        shift: u8,
        position: u64,
        raw: &[u8],
    ) {
        let width = layout.width();
        let (skipped, part) = sample(width, 1, raw);
        self.low_planes.add(backend, layout, part);
        self.counts.add(&self.folder.fold(backend, width, shift, position + skipped, part));
        if let Some(Predicted { folder, counts }) = &mut self.predicted {
            let (skipped, part) = sample(width, folder.scale.row_len, raw);
            counts.add(backend, &folder.fold(backend, width, shift, position + skipped, part));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.low_planes.merge(&other.low_planes);
        let both = self.predicted.iter_mut().zip(&other.predicted);
        both.for_each(|(predicted, other)| predicted.counts.merge(&other.counts));
    }

    /// Returns the cheapest model: the one without contexts, with contexts of columns, or with
    /// predictions.
    pub(super) fn build(self, layout: Layout, shift: u8, elements: u64) -> Model {
        let Self { plain, folder, counts, predicted, low_planes } = self;
        let (tables, low_cost) = low_planes.build(layout, elements);
        let rest = low_cost + elements * u64::from(shift) * BIT;
        let mut best = plain;
        let mut consider = |scale: Scale, (contexts, symbols): (Contexts, Cost)| {
            let rows = if scale.rows { elements / scale.row_len * 4 * BIT } else { 0 };
            let model = Model::new(layout, Some(scale.with(contexts)), tables.clone());
            let own = model.to_bytes().len() as Cost * BYTE;
            let cost = symbols + rest + own + rows;
            if cost < best.cost - best.cost / MIN_CONTEXTS_GAIN {
                best = Plain { model, cost };
            }
        };
        consider(folder.scale, counts.build(shift, elements));
        if let Some(Predicted { folder, counts }) = predicted {
            consider(folder.scale, counts.build(shift, elements));
        }
        best.model
    }
}
