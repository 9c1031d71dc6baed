//! The predictions of a model, and the order in which predicted symbols are coded.

use at1w_simd::Backend;
use at1w_simd::contexts::MAX_CONTEXTS;
use at1w_simd::prediction::{self, Column, ContextMap, ROWS, Term};

use crate::DecodeError;
use crate::cursor::Cursor;
use crate::plane::alone;
use crate::symbol::{FLIP, Symbol, VALUE_UNIT};

/// The most elements that a row may have.
pub(crate) const MAX_ROW_LEN: u64 = 1 << 13;

/// The most terms of a column.
pub(crate) const MAX_TERMS: usize = 32;

/// The most terms of all columns.
pub(crate) const MAX_ALL_TERMS: usize = 1 << 17;

/// A stored intercept counts so much.
pub(crate) const INTERCEPT: i16 = 32;

/// Distances of predictions from zero are counted in units of 1 << this.
const DISTANCE_SHIFT: u32 = 5;

/// The number of levels: how far from zero a prediction is.
pub(crate) const LEVELS: usize = 16;

/// The distances at which the levels begin: each about a part of a standard deviation.
const BEGINNINGS: [usize; LEVELS] = [0, 1, 3, 5, 8, 11, 14, 18, 22, 27, 34, 42, 54, 70, 90, 110];

/// The prediction of each column from the columns before it, and the context of each level.
#[derive(Clone, Debug)]
pub(crate) struct Prediction {
    /// The context of each level.
    levels: [u8; LEVELS],
    map: ContextMap,
    columns: Vec<Predictor>,
    /// The terms of all columns, one after the other.
    terms: Vec<Term>,
}

/// The prediction of one column; its terms are among those of all columns.
#[derive(Clone, Debug)]
struct Predictor {
    intercept: i8,
    /// How many terms.
    terms: u8,
}

/// The place of some symbols of a column that are coded one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Their column.
    pub(crate) column: usize,
    /// The row of the first one.
    pub(crate) row: usize,
}

impl Prediction {
    /// Makes a prediction without any column yet.
    pub(crate) fn new(levels: [u8; LEVELS]) -> Self {
        Self { levels, map: map(&levels), columns: Vec::new(), terms: Vec::new() }
    }

    /// Adds a column, of which the terms are in rising order. They are left out when there are too
    /// many in all.
    pub(crate) fn push(&mut self, intercept: i8, terms: &[Term]) {
        debug_assert!(terms.len() <= MAX_TERMS, "too many terms");
        let terms = if self.terms.len() + terms.len() > MAX_ALL_TERMS { &[] } else { terms };
        self.columns.push(Predictor { intercept, terms: terms.len() as u8 });
        self.terms.extend(terms);
    }

    /// Returns the same prediction with other contexts of levels.
    pub(crate) fn with(self, levels: [u8; LEVELS]) -> Self {
        Self { levels, map: map(&levels), ..self }
    }

    /// Whether no column is predicted from others.
    pub(crate) fn is_trivial(&self) -> bool {
        self.terms.is_empty()
    }

    /// Counts the elements of a row.
    pub(crate) fn row_len(&self) -> usize {
        self.columns.len()
    }

    /// Whether the `n` elements from `position` on are whole rows: no others are predicted.
    pub(crate) fn suits(&self, position: u64, n: usize) -> bool {
        position.is_multiple_of(self.row_len() as u64) && n.is_multiple_of(self.row_len())
    }

    /// Appends the contexts of levels, and planes: the intercepts, the number of terms of each
    /// column, the low and the high bytes of the distances of terms, and the coefficients.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.levels.as_chunks().0.iter().map(|[low, high]| low | high << 4));
        let intercepts = self.columns.iter().map(|c| c.intercept as u8);
        alone::write(&intercepts.collect::<Vec<_>>(), out);
        alone::write(&self.columns.iter().map(|c| c.terms).collect::<Vec<_>>(), out);
        let distances: Vec<[u8; 2]> = self.distances().map(u16::to_le_bytes).collect();
        for byte in 0..2 {
            alone::write(&distances.iter().map(|d| d[byte]).collect::<Vec<_>>(), out);
        }
        alone::write(&self.terms.iter().map(|t| t.coefficient as u8).collect::<Vec<_>>(), out);
    }

    /// Counts how many columns lie between each term and the one before it of the same column.
    fn distances(&self) -> impl Iterator<Item = u16> {
        let mut rest = &self.terms[..];
        self.columns.iter().flat_map(move |predictor| {
            let (terms, after) = rest.split_at(predictor.terms.into());
            rest = after;
            terms.iter().scan(0, |next, term| {
                let distance = term.column - *next;
                *next = term.column + 1;
                Some(distance)
            })
        })
    }

    /// Reads what [`Prediction::write`] wrote, for rows of so many elements and so many contexts.
    pub(crate) fn read(
        row_len: u64,
        contexts: usize,
        input: &mut Cursor<'_>,
    ) -> Result<Self, DecodeError> {
        let bytes = input.array::<{ LEVELS / 2 }>()?;
        let mut levels = [0; LEVELS];
        for (levels, byte) in levels.as_chunks_mut().0.iter_mut().zip(bytes) {
            *levels = [byte & 0xf, byte >> 4];
        }
        if row_len > MAX_ROW_LEN || levels.iter().any(|&context| usize::from(context) >= contexts) {
            return Err(DecodeError::Prediction);
        }
        let intercepts = alone::read(row_len as usize, input)?;
        let counts = alone::read(row_len as usize, input)?;
        let all: usize = counts.iter().map(|&count| usize::from(count)).sum();
        if counts.iter().any(|&count| usize::from(count) > MAX_TERMS)
            || !(1..=MAX_ALL_TERMS).contains(&all)
        {
            return Err(DecodeError::Prediction);
        }
        let low = alone::read(all, input)?;
        let high = alone::read(all, input)?;
        let coefficients = alone::read(all, input)?;

        let mut prediction = Self::new(levels);
        prediction.terms.reserve_exact(all);
        let mut terms = low.iter().zip(&high).zip(&coefficients);
        for ((column, &count), &intercept) in (0..).zip(&counts).zip(&intercepts) {
            let mut next = 0;
            for ((&low, &high), &coefficient) in terms.by_ref().take(count.into()) {
                let term = next + u32::from(u16::from_le_bytes([low, high]));
                if term >= column {
                    return Err(DecodeError::Prediction);
                }
                next = term + 1;
                // Columns are fewer than 2^16.
                let coefficient = coefficient as i8;
                prediction.terms.push(Term { column: term as u16, coefficient });
            }
            prediction.columns.push(Predictor { intercept: intercept as i8, terms: count });
        }
        Ok(prediction)
    }

    /// Goes through the symbols of `rows` rows in the order in which they are coded. `run` is given
    /// context bytes, and gives the symbols that have them.
    pub(crate) fn walk(
        &self,
        backend: Backend,
        rows: usize,
        memory: &mut Vec<Column>,
        mut run: impl FnMut(Run, &[u8], &mut [u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        memory.resize(self.row_len(), [0; ROWS]);
        for row in (0..rows).step_by(ROWS) {
            let n = ROWS.min(rows - row);
            let mut rest = &self.terms[..];
            for (column, predictor) in self.columns.iter().enumerate() {
                let (terms, after) = rest.split_at(predictor.terms.into());
                rest = after;
                let intercept = i16::from(predictor.intercept) * INTERCEPT;
                let mut contexts = [0; ROWS];
                prediction::predict_contexts(
                    backend,
                    intercept,
                    terms,
                    memory,
                    &self.map,
                    &mut contexts,
                );
                let mut symbols = [Symbol::ESCAPE.byte(); ROWS];
                run(Run { column, row }, &contexts[..n], &mut symbols[..n])?;
                prediction::values(backend, VALUE_UNIT, &symbols, &mut memory[column]);
            }
        }
        Ok(())
    }
}

/// Returns the context of each distance, with the sign of the prediction.
fn map(levels: &[u8; LEVELS]) -> ContextMap {
    let level = |distance| BEGINNINGS.partition_point(|&beginning| beginning <= distance) - 1;
    let contexts = std::array::from_fn(|distance| levels[level(distance)]);
    ContextMap { shift: DISTANCE_SHIFT, contexts, negative: FLIP }
}

/// The format says blocks of 64 rows; the kernels take a whole block.
const _: () = assert!(ROWS == 64);
const _: () = assert!(MAX_CONTEXTS <= 16 && MAX_ROW_LEN <= u16::MAX as u64);
