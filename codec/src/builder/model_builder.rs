//! The passes over a tensor, one after the other.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::byte_passes::{ChosenPass, ClassesPass, SpreadPass};
use super::refinement::{CountsPass, MomentsPass};
use super::scale_costs::ScaleCosts;
use super::scale_statistics::ScaleStatistics;
use crate::limits::check_raw;
use crate::model::Model;
use crate::{Dtype, EncodeError, Level, Position, default_backend};

/// No more elements are reckoned with.
const MAX_ELEMENTS: u64 = 1 << 40;

impl Model {
    /// Makes the model of a tensor whose chunks are all in memory.
    ///
    /// The shape is only a hint: a tensor of no or of a wrong shape is coded as well, but maybe not
    /// as small. [`Encoder::model`](crate::Encoder::model) does the same at the level of the
    /// encoder.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`], [`EncodeError::TooLong`] and [`EncodeError::Position`].
    pub fn of<'a>(
        dtype: Dtype,
        level: Level,
        shape: &[u64],
        chunks: impl IntoIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Self, EncodeError> {
        ModelBuilder::new(dtype, level, shape).build(chunks)
    }
}

/// A model in the making, in passes over a tensor that need not be in memory at once.
///
/// Each pass takes the chunks, all or a part of them that is typical of all, in any order; then
/// comes the [next](ModelBuilder::next).
///
/// ```
/// use at1w_codec::{Dtype, Level, ModelBuilder, Next, Position};
///
/// let chunks = [[0x3f80_u16.to_le_bytes(); 512].concat(), [[0, 0x40]; 512].concat()];
/// let mut builder = ModelBuilder::new(Dtype::BF16, Level::Default, &[16, 64]);
/// let model = loop {
///     for (number, chunk) in (0..).zip(&chunks) {
///         builder.add(Position::of_chunk(number, 1024, Dtype::BF16.layout()), chunk)?;
///     }
///     match builder.next() {
///         Next::Pass(next) => builder = *next,
///         Next::Done(model) => break model,
///     }
/// };
/// assert_eq!(model.layout(), Dtype::BF16.layout());
/// # Ok::<(), at1w_codec::EncodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    backend: Backend,
    dtype: Dtype,
    layout: Layout,
    level: Level,
    elements: u64,
    /// Bits of the top 16 below the symbols of contexts.
    symbol_shift: u8,
    /// The shape of an 8-bit tensor.
    shape: Vec<u64>,
    pass: Pass,
}

/// The end of a pass: another one, or the model.
#[derive(Clone, Debug)]
pub enum Next {
    /// Another pass.
    Pass(Box<ModelBuilder>),
    /// The model.
    Done(Model),
}

#[derive(Clone, Debug)]
enum Pass {
    ScaleStatistics(ScaleStatistics),
    ScaleTrial { statistics: ScaleStatistics, costs: ScaleCosts },
    ScaleCosts { statistics: ScaleStatistics, costs: ScaleCosts },
    Moments(Box<MomentsPass>),
    Counts(Box<CountsPass>),
    Spread(Box<SpreadPass>),
    Classes(Box<ClassesPass>),
    Chosen(Box<ChosenPass>),
}

impl ModelBuilder {
    /// Makes a builder before the first pass. The shape is a hint, as for [`Model::of`].
    pub fn new(dtype: Dtype, level: Level, shape: &[u64]) -> Self {
        let layout = dtype.layout();
        let bits = u64::from(dtype.bits());
        let elements = shape.iter().fold(bits, |n, &dim| n.saturating_mul(dim)) / 8;
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
            false => Pass::costs(layout, statistics),
        };
        let bytes = level == Level::Max && layout == Layout::BYTES;
        let mut shape = if bytes { shape.to_vec() } else { Vec::new() };
        // Of packed elements, as many bytes as a row has.
        if let Some(last) = shape.last_mut() {
            *last = last.saturating_mul(dtype.bits().into()) / 8;
        }
        Self {
            backend: default_backend(),
            dtype,
            layout,
            level,
            elements,
            symbol_shift,
            shape,
            pass,
        }
    }

    /// Returns the builder on another back-end than [`default_backend`]. The model is the same on
    /// all.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Takes all passes over chunks that are in memory, in their order.
    pub(crate) fn build<'a>(
        self,
        chunks: impl IntoIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Model, EncodeError> {
        let mut builder = self;
        loop {
            let mut elements = 0;
            for chunk in chunks.clone() {
                builder.add(Position::after_elements(elements), chunk)?;
                elements += (chunk.len() / builder.layout.width()) as u64;
            }
            match builder.next() {
                Next::Pass(next) => builder = *next,
                Next::Done(model) => return Ok(model),
            }
        }
    }

    /// Takes a chunk: the elements from `position` on.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`], [`EncodeError::TooLong`] and [`EncodeError::Position`].
    pub fn add(&mut self, position: Position, raw: &[u8]) -> Result<(), EncodeError> {
        check_raw(self.layout, position, raw)?;
        let (backend, position) = (self.backend, position.elements());
        match &mut self.pass {
            Pass::ScaleStatistics(statistics) => statistics.add(backend, position, raw),
            Pass::ScaleTrial { costs, .. } | Pass::ScaleCosts { costs, .. } => {
                costs.add(backend, position, raw);
            }
            Pass::Moments(moments) => {
                moments.add(backend, self.layout, self.symbol_shift, position, raw);
            }
            Pass::Counts(counts) => {
                counts.add(backend, self.layout, self.symbol_shift, position, raw);
            }
            Pass::Spread(spread) => spread.add(position, raw),
            Pass::Classes(classes) => classes.add(position, raw),
            Pass::Chosen(chosen) => chosen.add(position, raw),
        }
        Ok(())
    }

    /// Takes over the chunks that `other` was given, of the same tensor in the same pass.
    ///
    /// # Panics
    /// When it is not of the same tensor, or in another pass.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layout, other.layout, "both must be of one tensor");
        match (&mut self.pass, &other.pass) {
            (Pass::ScaleStatistics(a), Pass::ScaleStatistics(b)) => a.merge(b),
            (Pass::ScaleTrial { costs: a, .. }, Pass::ScaleTrial { costs: b, .. })
            | (Pass::ScaleCosts { costs: a, .. }, Pass::ScaleCosts { costs: b, .. }) => a.merge(b),
            (Pass::Moments(a), Pass::Moments(b)) => a.merge(b),
            (Pass::Counts(a), Pass::Counts(b)) => a.merge(b),
            (Pass::Spread(a), Pass::Spread(b)) => a.merge(b),
            (Pass::Classes(a), Pass::Classes(b)) => a.merge(b),
            (Pass::Chosen(a), Pass::Chosen(b)) => a.merge(b),
            _ => panic!("both must be in one pass"),
        }
    }

    /// Ends the pass.
    pub fn next(self) -> Next {
        let Self { backend, dtype, layout, level, elements, symbol_shift, shape, pass } = self;
        let after_costs = |statistics: ScaleStatistics, costs: ScaleCosts| {
            let counts = costs.byte_counts().filter(|_| level == Level::Max);
            let (model, cost) = costs.build(elements);
            let spread = counts
                .and_then(|counts| SpreadPass::new(dtype, &model, cost, &counts, &shape, elements));
            if let Some(spread) = spread {
                return Ok(Pass::Spread(Box::new(spread)));
            }
            if level < Level::Max || !statistics.is_needed() {
                return Err(Box::new(model));
            }
            let scale = match model.scale() {
                Some(scale) if scale.rows || scale.has_columns() => scale.clone(),
                _ => statistics.one_scale(),
            };
            let scale = scale.for_contexts(symbol_shift);
            Ok(Pass::Moments(Box::new(MomentsPass::new(model, cost, scale, elements))))
        };
        let pass = match pass {
            Pass::ScaleStatistics(statistics) => Ok(Pass::costs(layout, statistics)),
            Pass::ScaleTrial { statistics, costs } => match costs.end_trial(elements) {
                (costs, true) => Ok(Pass::ScaleCosts { statistics, costs }),
                (costs, false) => after_costs(statistics, costs),
            },
            Pass::ScaleCosts { statistics, costs } => after_costs(statistics, costs),
            Pass::Moments(moments) => Ok(Pass::Counts(Box::new(moments.next(layout, elements)))),
            Pass::Counts(counts) => Err(Box::new(counts.build(layout, symbol_shift, elements))),
            Pass::Spread(spread) => Ok(Pass::Classes(Box::new(spread.next()))),
            Pass::Classes(classes) => {
                classes.next(elements).map(|chosen| Pass::Chosen(Box::new(chosen)))
            }
            Pass::Chosen(chosen) => Err(Box::new(chosen.build(elements))),
        };
        let pass = match pass {
            Ok(pass) => pass,
            Err(model) => return Next::Done(*model),
        };
        Next::Pass(Box::new(Self {
            backend,
            dtype,
            layout,
            level,
            elements,
            symbol_shift,
            shape,
            pass,
        }))
    }
}

impl Pass {
    fn costs(layout: Layout, statistics: ScaleStatistics) -> Self {
        let costs = ScaleCosts::new(layout, statistics.scales());
        match costs.is_trial() {
            true => Self::ScaleTrial { statistics, costs },
            false => Self::ScaleCosts { statistics, costs },
        }
    }
}
