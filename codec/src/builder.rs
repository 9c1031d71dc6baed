//! From the elements of a tensor to its model, in two passes: one that measures the scale of its
//! columns, and one that counts what the planes would be under each model that is possible.

use at1w_simd::planes::Layout;

use crate::cost::{BYTE, Cost};
use crate::model::{Model, Table, check_raw};
use crate::plane::packed::Packing;
use crate::plane::statistics::{self, Counts};
use crate::planes::Planes;
use crate::scale::{self, Columns, Scale};
use crate::{Dtype, EncodeError, Level, lanes};

/// Tensors of fewer elements are not scaled: a model of it would take more than it saves.
const MIN_SCALED: u64 = 1024;

/// Rows of fewer elements get no offsets: these would take more than they save.
const MIN_ROW_LEN: u64 = 24;

/// How many elements of a chunk are counted: enough for a table, and those in the middle.
const COUNTED: usize = 1 << 16;

/// What a scale has to win over the model without, as a part of the raw bytes.
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
        let width = dtype.layout().width() as u64;
        let mut survey = Survey::new(dtype, level, shape);
        if survey.is_needed() {
            let mut position = 0;
            for chunk in chunks.clone() {
                survey.add(position, chunk)?;
                position += chunk.len() as u64 / width;
            }
        }
        let mut builder = survey.finish();
        let mut position = 0;
        for chunk in chunks {
            builder.add(position, chunk)?;
            position += chunk.len() as u64 / width;
        }
        Ok(builder.build())
    }
}

/// The first pass: measures the scale of the columns, chunk by chunk, in any order.
#[derive(Clone, Debug)]
pub struct Survey {
    layout: Layout,
    /// One for the row length 1, which is the whole tensor, and one for each that is possible.
    columns: Vec<Columns>,
    /// Steps of an eighth of an octave are 1 << this.
    shift: u8,
    rotate: bool,
}

impl Survey {
    /// A survey of a tensor that has seen nothing. The shape is a hint, as for [`Model::of`].
    pub fn new(dtype: Dtype, level: Level, shape: &[u64]) -> Self {
        let layout = dtype.layout();
        // An exponent is so many bits above the bottom of the top 16; a step is an eighth of it.
        let (shift, rotate) = match dtype {
            Dtype::F16 => (10 - 3, false),
            Dtype::BF16 | Dtype::F32 | Dtype::C64 => (7 - 3, true),
            Dtype::F64 => (4 - 3, false),
            _ => (0, false),
        };
        // A complex number is two elements.
        let parts = u64::from(dtype.bits()) / (8 * layout.width() as u64);
        let elements = shape.iter().fold(parts.max(1), |n, &dim| n.saturating_mul(dim));
        let mut columns = Vec::new();
        if layout.rotates() && level > Level::Fast && elements >= MIN_SCALED {
            columns.push(Columns::new(1));
            let lens = row_lens(parts, shape).into_iter();
            let possible = |&len: &u64| (2..=scale::MAX_ROW_LEN).contains(&len) && len < elements;
            columns.extend(lens.filter(possible).map(Columns::new));
        }
        Self { layout, columns, shift, rotate }
    }

    /// Whether there is anything to measure; if not, the pass can be spared.
    pub fn is_needed(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Takes a chunk: the elements from `position` on.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`] and [`EncodeError::TooLong`].
    pub fn add(&mut self, position: u64, raw: &[u8]) -> Result<(), EncodeError> {
        check_raw(self.layout, raw)?;
        // Any row length gives the sum of all elements as well.
        let first = usize::from(self.columns.len() > 1);
        for columns in self.columns.iter_mut().skip(first) {
            columns.add(self.layout.width(), position, raw);
        }
        Ok(())
    }

    /// Takes what `other` has seen of the same tensor.
    ///
    /// # Panics
    /// When they are not of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.columns.len(), other.columns.len(), "both must be of one tensor");
        for (columns, other) in self.columns.iter_mut().zip(&other.columns) {
            columns.merge(other);
        }
    }

    /// The second pass, that has seen nothing yet.
    pub fn finish(self) -> ModelBuilder {
        let mut scales = vec![None];
        if let Some(last) = self.columns.last() {
            let total = last.total();
            let (shift, rotate) = (self.shift, self.rotate);
            if rotate {
                scales.push(Some(Scale::new(true, scale::base(total, 0, 0), 0, 1, false, vec![])));
            }
            for columns in &self.columns[1..] {
                let (steps, row_len) = (columns.steps(shift), columns.row_len());
                let scale = |rows: bool, steps: Vec<u8>| {
                    let neutral = u32::from(rows) + u32::from(!steps.is_empty());
                    let base = scale::base(total, shift, neutral);
                    Some(Scale::new(rotate, base, shift, row_len, rows, steps))
                };
                if row_len >= MIN_ROW_LEN {
                    scales.push(scale(true, vec![]));
                    scales.push(scale(true, steps.clone()));
                }
                scales.push(scale(false, steps));
            }
        }
        let candidates = scales.into_iter().map(|scale| Candidate::new(self.layout, scale));
        ModelBuilder {
            layout: self.layout,
            elements: 0,
            candidates: candidates.collect(),
            scratch: Scratch::default(),
        }
    }
}

/// The ways to fold a tensor into a matrix: the elements of a row, for its first dimension by all
/// others, its first two by all others, and so on.
fn row_lens(parts: u64, shape: &[u64]) -> Vec<u64> {
    const MOST: usize = 3;
    let mut len = parts;
    let mut lens: Vec<u64> = Vec::new();
    for &dim in shape.iter().skip(1).rev() {
        len = len.saturating_mul(dim);
        if lens.last() != Some(&len) {
            lens.push(len);
        }
    }
    lens.reverse();
    lens.truncate(MOST);
    lens
}

/// The second pass: counts what the planes would be, chunk by chunk, in any order.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    layout: Layout,
    elements: u64,
    candidates: Vec<Candidate>,
    scratch: Scratch,
}

/// A model that is possible.
#[derive(Clone, Debug)]
struct Candidate {
    scale: Option<Scale>,
    /// Of the row offsets, then of the planes.
    sums: Vec<Sum>,
}

/// What is known about one plane of all chunks.
#[derive(Clone, Debug)]
struct Sum {
    /// Of the chunks in which it does not look random.
    counts: Counts,
    /// What lanes would cost beside their symbols.
    flush: Cost,
    /// What the plane costs in the chunks in which it looks random.
    random: Cost,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    planes: Planes,
    words: Vec<u8>,
    rows: Vec<u8>,
    row_offsets: Vec<u16>,
}

impl ModelBuilder {
    /// Takes a chunk: the elements from `position` on.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`] and [`EncodeError::TooLong`].
    pub fn add(&mut self, position: u64, raw: &[u8]) -> Result<(), EncodeError> {
        check_raw(self.layout, raw)?;
        let width = self.layout.width();
        let elements = raw.len() / width;
        let skipped = elements.saturating_sub(COUNTED) / 2;
        let raw = &raw[width * skipped..][..width * elements.min(COUNTED)];
        let position = position + skipped as u64;
        let flush =
            lanes::flush_cost(elements) * elements.min(COUNTED) as Cost / elements.max(1) as Cost;
        self.elements += elements.min(COUNTED) as u64;
        for candidate in &mut self.candidates {
            candidate.add(self.layout, position, raw, flush, &mut self.scratch);
        }
        Ok(())
    }

    /// Takes what `other` has seen of the same tensor.
    ///
    /// # Panics
    /// When they are not of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layout, other.layout, "both must be of one tensor");
        assert_eq!(self.candidates.len(), other.candidates.len(), "both must be of one tensor");
        self.elements += other.elements;
        for (candidate, other) in self.candidates.iter_mut().zip(&other.candidates) {
            for (sum, other) in candidate.sums.iter_mut().zip(&other.sums) {
                sum.add(other);
            }
        }
    }

    /// The cheapest model, with the cheapest table for each plane.
    pub fn build(mut self) -> Model {
        let gain = self.elements * self.layout.width() as u64 * BYTE / MIN_GAIN;
        let rest = self.candidates.split_off(1);
        let [plain] = <[Candidate; 1]>::try_from(self.candidates)
            .unwrap_or_else(|_| unreachable!("the first candidate is always there"));
        let (mut best, plain_cost) = plain.build(self.layout);
        let mut limit = plain_cost.saturating_sub(gain);
        for candidate in rest {
            let (model, cost) = candidate.build(self.layout);
            if cost < limit {
                (best, limit) = (model, cost);
            }
        }
        best
    }
}

impl Candidate {
    fn new(layout: Layout, scale: Option<Scale>) -> Self {
        let sum = Sum { counts: [0; 256], flush: 0, random: 0 };
        Self { scale, sums: vec![sum; 1 + layout.width()] }
    }

    /// `flush` is what lanes cost these elements.
    fn add(
        &mut self,
        layout: Layout,
        position: u64,
        raw: &[u8],
        flush: Cost,
        scratch: &mut Scratch,
    ) {
        let Scratch { planes, words, rows, row_offsets } = scratch;
        let (row_sum, sums) = self.sums.split_first_mut().expect("one for the rows");
        match &self.scale {
            None => planes.split(layout, raw),
            Some(scale) => {
                words.clear();
                words.extend_from_slice(raw);
                scale.measure_rows(layout.width(), position, words, rows);
                scale.row_offsets(rows, row_offsets);
                scale.apply(layout.width(), position, row_offsets, words);
                planes.split(layout, words);
                row_sum.count(rows, lanes::flush_cost(rows.len()));
            }
        }
        for (plane, sum) in planes.iter().zip(sums) {
            match statistics::random_sample(plane) {
                Some(sample) => sum.random += random_cost(plane.len() as u64, &sample),
                None => sum.count(plane, flush),
            }
        }
    }

    /// The model, and what the tensor costs with it.
    fn build(self, layout: Layout) -> (Model, Cost) {
        let mut total = 0;
        let tables = self.sums.iter().map(|sum| {
            let n = sum.counts.iter().sum();
            total += sum.random;
            let packed = Packing::best(&sum.counts).map(|(_, cost)| cost);
            let limit = statistics::limit(n).min(packed.unwrap_or(Cost::MAX));
            let (table, cost) = match Table::best(&sum.counts, sum.flush, limit) {
                Some((table, cost)) => (Some(table), cost),
                None => (None, limit),
            };
            total += cost;
            table
        });
        let tables = tables.collect();
        let model = Model::new(layout, self.scale, tables);
        let own = model.to_bytes().len() as Cost * BYTE;
        (model, total + own)
    }
}

impl Sum {
    fn count(&mut self, plane: &[u8], flush: Cost) {
        let counts = statistics::count(plane);
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        self.flush += flush;
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.flush += other.flush;
        self.random += other.random;
    }
}

/// What `n` symbols that look random cost, of which a sample has these counts.
fn random_cost(n: u64, sample: &Counts) -> Cost {
    let sampled: u64 = sample.iter().sum();
    match Packing::best(sample) {
        Some((_, cost)) => (cost / sampled * n).min(n * BYTE),
        None => n * BYTE,
    }
}
