//! The first pass over a tensor: the scale of its columns.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use crate::scale::{self, Columns, Scale};
use crate::{Dtype, Level};

/// Tensors of fewer elements are not scaled: a model would take more than it saves.
const MIN_SCALED: u64 = 1024;

/// Fewer columns are not worth looking at.
const MIN_COLUMNS: u64 = 8;

/// Columns of fewer elements say too little.
const MIN_ROWS: u64 = 16;

/// Rows of fewer elements get no offsets: these would take more than they save.
const MIN_ROW_LEN: u64 = 24;

/// The sums of columns, for each way to fold the tensor into a matrix.
#[derive(Clone, Debug)]
pub(super) struct ScaleStatistics {
    layout: Layout,
    /// One entry for the row length 1, which is the whole tensor, and one for each that is
    /// possible.
    columns: Vec<Columns>,
    /// Steps of an eighth of an octave are 1 << this.
    shift: u8,
    rotate: bool,
}

impl ScaleStatistics {
    pub(super) fn new(dtype: Dtype, level: Level, elements: u64, shape: &[u64]) -> Self {
        let layout = dtype.layout();
        // An exponent is so many bits above the bottom of the top 16; a step is an eighth of it.
        let (shift, rotate) = match dtype {
            Dtype::F16 => (10 - 3, false),
            Dtype::BF16 | Dtype::F32 | Dtype::C64 => (7 - 3, true),
            Dtype::F64 => (4 - 3, false),
            _ => (0, false),
        };
        let mut columns = Vec::new();
        if layout.rotates() && level > Level::Fast && elements >= MIN_SCALED {
            columns.push(Columns::new(1));
            // A complex number is two elements.
            let parts = u64::from(dtype.bits()) / (8 * layout.width() as u64);
            let possible = |&len: &u64| {
                (MIN_COLUMNS..=scale::MAX_ROW_LEN).contains(&len) && elements / len >= MIN_ROWS
            };
            columns.extend(row_lens(parts, shape).into_iter().filter(possible).map(Columns::new));
        }
        Self { layout, columns, shift, rotate }
    }

    /// Whether there is anything to measure; if not, the pass can be spared.
    pub(super) fn is_needed(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Returns the elements of the longest row that is possible, or 1.
    pub(super) fn row_len(&self) -> u64 {
        self.columns.get(1).map_or(1, Columns::row_len)
    }

    /// Returns one scale for all elements, with a step, for contexts.
    pub(super) fn one_scale(&self) -> Scale {
        let total = self.columns.last().map_or((0, 0), Columns::total);
        Scale::new(false, scale::base(total, 0, 0), self.shift, self.row_len(), false, vec![])
    }

    pub(super) fn add(&mut self, backend: Backend, position: u64, raw: &[u8]) {
        // Any row length gives the sum of all elements as well.
        let first = usize::from(self.columns.len() > 1);
        for columns in self.columns.iter_mut().skip(first) {
            columns.add(backend, self.layout.width(), position, raw);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (columns, other) in self.columns.iter_mut().zip(&other.columns) {
            columns.merge(other);
        }
    }

    /// Returns the scales that are possible; none is always one of them.
    pub(super) fn scales(&self) -> Vec<Option<Scale>> {
        let mut scales = vec![None];
        let Some(last) = self.columns.last() else { return scales };
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
        scales
    }
}

/// Returns the ways to fold a tensor into a matrix: the elements of a row, for its first dimension
/// by all others, its first two by all others, and so on.
pub(super) fn row_lens(parts: u64, shape: &[u64]) -> Vec<u64> {
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
