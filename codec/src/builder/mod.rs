//! From the elements of a tensor to its model, in as many passes over its chunks as the level asks
//! for.

mod low_planes;
mod plane_statistics;
mod scale_costs;
mod scale_statistics;

use at1w_simd::Backend;
use at1w_simd::planes::Layout;
use low_planes::LowPlanes;
use scale_costs::ScaleCosts;
use scale_statistics::ScaleStatistics;

use crate::contexts::Contexts;
use crate::contexts::builder::{ColumnCounts, Folded, Moments, PredictedCounts};
use crate::contexts::predictor::{Covariance, Fit};
use crate::cost::{BIT, BYTE, Cost};
use crate::model::{Model, check_raw};
use crate::scale::Scale;
use crate::{Dtype, EncodeError, Level, default_backend};

/// Tensors of fewer elements are not scaled: a model of it would take more than it saves.
const MIN_SCALED: u64 = 1024;

/// No more elements are reckoned with.
const MAX_ELEMENTS: u64 = 1 << 40;

/// How many elements of a chunk are counted: enough for a table, and those in the middle.
const COUNTED: usize = 1 << 15;

/// What contexts have to win over the model without, and predictions over contexts of columns, as a
/// part of that: they decode slower.
const MIN_GAIN: u64 = 512;

impl Model {
    /// The model of a tensor whose chunks are all in memory.
    ///
    /// The shape is only a hint: a tensor of no or of a wrong shape is coded as well, but maybe not
    /// as small.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`] and [`EncodeError::TooLong`].
    pub fn of<'a>(
        dtype: Dtype,
        level: Level,
        shape: &[u64],
        chunks: impl IntoIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Self, EncodeError> {
        let mut builder = ModelBuilder::new(dtype, level, shape);
        loop {
            let mut position = 0;
            for chunk in chunks.clone() {
                builder.add(position, chunk)?;
                position += (chunk.len() / dtype.layout().width()) as u64;
            }
            match builder.next() {
                Next::Pass(next) => builder = *next,
                Next::Done(model) => return Ok(model),
            }
        }
    }
}

/// Makes the model of a tensor, in passes: each takes the chunks, all or a part of them that says
/// much of all, in any order; then comes the [next](ModelBuilder::next).
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    backend: Backend,
    layout: Layout,
    level: Level,
    elements: u64,
    /// Bits of the top 16 below the symbols of contexts.
    symbol_shift: u8,
    pass: Pass,
}

/// What comes after a pass.
#[derive(Clone, Debug)]
pub enum Next {
    /// Another one.
    Pass(Box<ModelBuilder>),
    /// The model.
    Done(Model),
}

#[derive(Clone, Debug)]
enum Pass {
    ScaleStatistics(ScaleStatistics),
    ScaleCosts {
        statistics: ScaleStatistics,
        candidates: ScaleCosts,
    },
    Moments {
        refined: Refined,
        moments: Moments,
        covariance: Option<Box<Covariance>>,
    },
    Counts {
        refined: Refined,
        counts: Box<ColumnCounts>,
        predicted: Option<Box<Predicted>>,
        lower: Box<LowPlanes>,
    },
}

/// Columns that are predicted from others.
#[derive(Clone, Debug)]
struct Predicted {
    scaled: Scaled,
    counts: PredictedCounts,
}

/// What is refined by contexts.
#[derive(Clone, Debug)]
struct Refined {
    /// The model without, and what the tensor costs with it.
    plain: Box<Model>,
    cost: Cost,
    /// The same scale, with another target.
    scaled: Scaled,
}

/// A scale, and memory to look at elements through it.
#[derive(Clone, Debug)]
struct Scaled {
    scale: Scale,
    words: Vec<u8>,
    tops: Vec<u16>,
}

impl ModelBuilder {
    /// A builder before the first pass. The shape is a hint, as for [`Model::of`].
    pub fn new(dtype: Dtype, level: Level, shape: &[u64]) -> Self {
        let layout = dtype.layout();
        let bytes = u64::from(dtype.bits()).div_ceil(8);
        let elements = shape.iter().fold(bytes, |n, &dim| n.saturating_mul(dim));
        // More than any tensor has, and little enough for costs: the shape may be any.
        let elements = (elements / layout.width() as u64).min(MAX_ELEMENTS);
        let symbol_shift = match dtype {
            Dtype::F16 => 7,
            Dtype::F64 => 1,
            _ => 4,
        };
        let statistics = ScaleStatistics::new(dtype, level, elements, shape);
        let pass = match statistics.is_needed() {
            true => Pass::ScaleStatistics(statistics),
            false => Pass::candidates(layout, statistics),
        };
        let backend = default_backend();
        Self { backend, layout, level, elements, symbol_shift, pass }
    }

    /// The same builder on another back-end than [`default_backend`]; the model is the same as well.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Takes a chunk: the elements from `position` on.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`] and [`EncodeError::TooLong`].
    pub fn add(&mut self, position: u64, raw: &[u8]) -> Result<(), EncodeError> {
        check_raw(self.layout, raw)?;
        let (backend, width, shift) = (self.backend, self.layout.width(), self.symbol_shift);
        match &mut self.pass {
            Pass::ScaleStatistics(statistics) => statistics.add(backend, position, raw),
            Pass::ScaleCosts { candidates, .. } => candidates.add(backend, position, raw),
            Pass::Moments { refined, moments, covariance } => {
                let folded = refined.scaled.fold(backend, width, shift, position, raw);
                moments.add(&folded);
                if let Some(covariance) = covariance {
                    covariance.add(backend, &folded);
                }
            }
            Pass::Counts { refined, counts, predicted, lower } => {
                let (skipped, part) = sample(width, 1, raw);
                lower.add(backend, self.layout, part);
                counts.add(&refined.scaled.fold(backend, width, shift, position + skipped, part));
                if let Some(Predicted { scaled, counts }) = predicted.as_deref_mut() {
                    let (skipped, part) = sample(width, scaled.scale.row_len, raw);
                    counts.add(
                        backend,
                        &scaled.fold(backend, width, shift, position + skipped, part),
                    );
                }
            }
        }
        Ok(())
    }

    /// Takes what `other` has seen of the same tensor in the same pass.
    ///
    /// # Panics
    /// When it is not of the same tensor, or in another pass.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layout, other.layout, "both must be of one tensor");
        match (&mut self.pass, &other.pass) {
            (Pass::ScaleStatistics(a), Pass::ScaleStatistics(b)) => a.merge(b),
            (Pass::ScaleCosts { candidates: a, .. }, Pass::ScaleCosts { candidates: b, .. }) => {
                a.merge(b)
            }
            (
                Pass::Moments { moments: a, covariance: c, .. },
                Pass::Moments { moments: b, covariance: d, .. },
            ) => {
                a.merge(b);
                c.iter_mut().zip(d).for_each(|(c, d)| c.merge(d));
            }
            (
                Pass::Counts { counts: a, predicted: p, lower: l, .. },
                Pass::Counts { counts: b, predicted: q, lower: m, .. },
            ) => {
                a.merge(b);
                l.merge(m);
                p.iter_mut().zip(q).for_each(|(p, q)| p.counts.merge(&q.counts));
            }
            _ => panic!("both must be in one pass"),
        }
    }

    /// Ends the pass.
    pub fn next(self) -> Next {
        let Self { backend, layout, level, elements, symbol_shift, pass } = self;
        let pass = match pass {
            Pass::ScaleStatistics(statistics) => Pass::candidates(layout, statistics),
            Pass::ScaleCosts { statistics, candidates } => {
                let (model, cost) = candidates.build(elements);
                if level < Level::Max || !statistics.is_needed() {
                    return Next::Done(model);
                }
                let scale = match model.scale() {
                    Some(scale) if scale.rows || scale.has_columns() => scale.clone(),
                    _ => statistics.one_scale(),
                };
                let scale = scale.for_contexts(symbol_shift);
                let moments = Moments::new(scale.row_len);
                let covariance = Covariance::new(elements, scale.row_len).map(Box::new);
                let plain = Box::new(model);
                let refined = Refined { plain, cost, scaled: Scaled::new(scale) };
                Pass::Moments { refined, moments, covariance }
            }
            Pass::Moments { refined, moments, covariance } => {
                let counts = Box::new(ColumnCounts::new(moments.columns()));
                let scale = &refined.scaled.scale;
                let fit = covariance.and_then(|c| c.fit(elements / scale.row_len));
                let predicted = fit.map(|Fit { prediction, steps }| {
                    let scaled = Scaled::new(scale.clone().with_columns_up(&steps));
                    Box::new(Predicted { scaled, counts: PredictedCounts::new(prediction) })
                });
                let lower = Box::new(LowPlanes::new(layout));
                Pass::Counts { refined, counts, predicted, lower }
            }
            Pass::Counts { refined: Refined { plain, cost, scaled }, counts, predicted, lower } => {
                let mut best = (*plain, cost);
                let (tables, lower) = lower.build(layout, elements);
                let rest = lower + elements * u64::from(symbol_shift) * BIT;
                let mut consider = |scale: Scale, (contexts, symbols): (Contexts, Cost)| {
                    let rows = if scale.rows { elements / scale.row_len * 4 * BIT } else { 0 };
                    let model = Model::new(layout, Some(scale.with(contexts)), tables.clone());
                    let own = model.to_bytes().len() as Cost * BYTE;
                    let cost = symbols + rest + own + rows;
                    if cost < best.1 - best.1 / MIN_GAIN {
                        best = (model, cost);
                    }
                };
                consider(scaled.scale, counts.build(symbol_shift, elements));
                if let Some(predicted) = predicted {
                    let Predicted { scaled, counts } = *predicted;
                    consider(scaled.scale, counts.build(symbol_shift, elements));
                }
                return Next::Done(best.0);
            }
        };
        Next::Pass(Box::new(Self { backend, layout, level, elements, symbol_shift, pass }))
    }
}

impl Pass {
    fn candidates(layout: Layout, statistics: ScaleStatistics) -> Self {
        let candidates = ScaleCosts::new(layout, statistics.scales());
        Self::ScaleCosts { statistics, candidates }
    }
}

impl Scaled {
    fn new(scale: Scale) -> Self {
        Self { scale, words: Vec::new(), tops: Vec::new() }
    }

    /// The top bits of the scaled elements from `position` on.
    fn fold(
        &mut self,
        backend: Backend,
        width: usize,
        shift: u8,
        position: u64,
        raw: &[u8],
    ) -> Folded<'_> {
        let Self { scale, words, tops } = self;
        words.clear();
        words.extend_from_slice(raw);
        let (mut steps, mut offsets) = (Vec::new(), Vec::new());
        scale.measure_rows(backend, width, position, raw, &mut steps);
        scale.row_offsets(&steps, &mut offsets);
        scale.apply(backend, width, position, &offsets, words);
        crate::contexts::tops(width, words, tops);
        Folded { shift, row_len: scale.row_len, position, tops }
    }
}

/// From what was counted to the whole tensor.
#[derive(Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) elements: u64,
    pub(crate) counted: u64,
}

impl Whole {
    pub(crate) fn of(self, cost: Cost) -> Cost {
        let all = u128::from(cost) * u128::from(self.elements.max(self.counted));
        (all / u128::from(self.counted.max(1))) as Cost
    }
}

/// The elements of a chunk that are counted, whole groups of `unit` and one at least where there
/// is one, and how many come before them.
fn sample(width: usize, unit: u64, raw: &[u8]) -> (u64, &[u8]) {
    let unit = unit as usize;
    let units = raw.len() / width / unit;
    let counted = units.min((COUNTED / unit).max(1));
    let skipped = (units - counted) / 2 * unit;
    (skipped as u64, &raw[width * skipped..][..width * counted * unit])
}
