//! From the elements of a tensor to the prediction of its columns: measures how much columns vary
//! with one another, and then finds for each column the few earlier ones that explain most of it.
//!
//! Source: orthogonal least squares, forward selection by an incremental Cholesky factor (S. Chen,
//! C. Cowan, P. Grant, 1991). Floats are used, but only in operations that IEEE 754 defines to the
//! last bit, so that the same tensor has the same model on every machine.

use at1w_simd::Backend;
use at1w_simd::contexts::MAX_CONTEXTS;
use at1w_simd::prediction::{SAMPLE_LEN, Sample, Term, add_products};

use super::rows::{INTERCEPT, LEVELS, MAX_ROW_LEN, MAX_TERMS, Prediction};
use crate::symbol::Symbol;
use crate::tops::Tops;

/// Matrices of fewer columns or rows are not worth looking at.
const MIN_COLUMNS: u64 = 8;
const MIN_ROWS: u64 = 64;

/// Columns are predicted from some of the first ones. With more to choose from, more of the
/// chosen ones fit by chance.
const MAX_CANDIDATES: usize = 256;

/// More terms than these win little.
const MOST_TERMS: usize = 16;
const _: () = assert!(MOST_TERMS <= MAX_TERMS);

/// Values are counted in units of 1 << this: they are less than 2^10 then.
const UNIT: u32 = 5;

/// A prediction of 1 stands for this value: coefficients up to twice as large as 1 fit a byte.
const VALUE: f64 = 4.0;

/// A term has to explain so much of a column, divided by the rows of the matrix, and by those that
/// were counted.
const PER_TERM: f64 = 20.0;
const PER_COUNTED_TERM: f64 = 14.0;

/// The most steps that a column is scaled up by because it is predicted.
const MAX_STEPS: u8 = 12;

/// Powers of the eighth root of two.
const EIGHTHS: [f64; 9] = [
    1.0,
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
    2.0,
];

/// How columns vary with one another: sums of values and of their products.
#[derive(Clone, Debug)]
pub(crate) struct Covariance {
    columns: usize,
    candidates: usize,
    /// How many rows were counted.
    rows: u64,
    sums: Vec<i64>,
    /// For each column with itself, then with each candidate before it.
    products: Vec<i64>,
    /// Whether there were chunks of parts of rows: these can't be predicted.
    ragged: bool,
    samples: Vec<Sample>,
}

/// A prediction, and by how many steps each column is then scaled up.
pub(crate) struct Fit {
    pub(crate) prediction: Prediction,
    pub(crate) steps: Vec<u8>,
}

impl Covariance {
    /// Starts to measure a matrix of so many elements, if it is large enough to be worth it.
    pub(crate) fn new(elements: u64, row_len: u64) -> Option<Self> {
        let rows = elements / row_len;
        if !(MIN_COLUMNS..=MAX_ROW_LEN).contains(&row_len) || rows < MIN_ROWS {
            return None;
        }
        let columns = row_len as usize;
        let candidates = columns.min(MAX_CANDIDATES);
        Some(Self {
            columns,
            candidates,
            rows: 0,
            sums: vec![0; columns],
            products: vec![0; columns * (candidates + 1)],
            ragged: false,
            samples: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, backend: Backend, tops: &Tops<'_>) {
        let columns = self.columns as u64;
        if !tops.position.is_multiple_of(columns) || !tops.tops.len().is_multiple_of(self.columns) {
            self.ragged = true;
            return;
        }
        for rows in tops.tops.chunks(SAMPLE_LEN * self.columns) {
            self.samples.clear();
            self.samples.resize(self.columns, [0; SAMPLE_LEN]);
            for (i, row) in rows.chunks_exact(self.columns).enumerate() {
                for (sample, &top) in self.samples.iter_mut().zip(row) {
                    sample[i] = Symbol::fold(tops.shift, top).symbol.value() >> UNIT;
                }
                self.rows += 1;
            }
            self.add_samples(backend);
        }
    }

    fn add_samples(&mut self, backend: Backend) {
        let products = self.products.chunks_exact_mut(self.candidates + 1);
        for ((i, products), sum) in products.enumerate().zip(&mut self.sums) {
            let sample = &self.samples[i];
            *sum += sample.iter().map(|&v| i64::from(v)).sum::<i64>();
            let (own, products) = products.split_at_mut(1);
            add_products(backend, sample, std::slice::from_ref(sample), own);
            let before = i.min(self.candidates);
            add_products(backend, sample, &self.samples[..before], &mut products[..before]);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.ragged |= other.ragged;
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.products.iter_mut().zip(&other.products).for_each(|(a, b)| *a += b);
    }

    /// Finds the prediction of the columns of a matrix of so many rows, if any is worth it.
    pub(crate) fn fit(self, rows: u64) -> Option<Fit> {
        if self.ragged || self.rows < MIN_ROWS / 2 {
            return None;
        }
        let least = (PER_TERM / rows as f64).max(PER_COUNTED_TERM / self.rows as f64);
        let mut selection = Selection::new(&self);
        // The columns are scaled later, each by its steps: coefficients are between scaled ones.
        let mut factors: Vec<f64> = Vec::with_capacity(self.columns);
        let mut prediction = Prediction::new(std::array::from_fn(|level| level as u8));
        let mut steps = Vec::with_capacity(self.columns);
        for column in 0..self.columns {
            let chosen = selection.choose(column, least);
            let left = selection.left(column, &chosen);
            let step = steps_between(selection.variance(column), left);
            let factor = EIGHTHS[usize::from(step % 8)] * f64::from(1_u32 << (step / 8));
            let mut terms: Vec<Term> = Vec::with_capacity(chosen.len());
            let mut mean = selection.means[column];
            for &(other, coefficient) in &chosen {
                mean -= coefficient * selection.means[other];
                let coefficient = rounded(coefficient * factor / factors[other] * 256.0 / VALUE);
                terms.push(Term { column: other as u16, coefficient });
            }
            terms.retain(|term| term.coefficient != 0);
            terms.sort_unstable_by_key(|term| term.column);
            let unit = f64::from(1_u32 << UNIT) / VALUE / f64::from(INTERCEPT);
            prediction.push(rounded(mean * factor * unit), &terms);
            factors.push(factor);
            steps.push(step);
        }
        (!prediction.is_trivial()).then_some(Fit { prediction, steps })
    }
}

/// Returns the nearest integer, halves away from zero.
fn rounded(x: f64) -> i8 {
    // A cast saturates.
    (if x < 0.0 { x - 0.5 } else { x + 0.5 }) as i8
}

/// Counts the eighths of octaves by which the root of one variance is above that of another.
fn steps_between(all: f64, left: f64) -> u8 {
    let ratio = all / left.max(1e-9);
    let mut steps = 0;
    // A step of the root is two of the variance; the nearest one.
    let mut bound = EIGHTHS[1];
    while steps < MAX_STEPS && ratio >= bound {
        steps += 1;
        bound *= EIGHTHS[2];
    }
    steps
}

/// Chooses columns to predict others from.
struct Selection<'a> {
    covariance: &'a Covariance,
    means: Vec<f64>,
    /// The covariances of each candidate with all of them.
    candidates: Vec<Vec<f64>>,
    /// The covariance of the column with each candidate that the chosen ones leave.
    with: Vec<f64>,
    /// The variance of each candidate that these leave.
    left: Vec<f64>,
    /// A row of the Cholesky factor for each chosen one.
    factor: Vec<Vec<f64>>,
}

impl<'a> Selection<'a> {
    fn new(covariance: &'a Covariance) -> Self {
        let rows = covariance.rows as f64;
        let means = covariance.sums.iter().map(|&sum| sum as f64 / rows).collect();
        let (candidates, with, left, factor) = Default::default();
        let mut selection = Self { covariance, means, candidates, with, left, factor };
        let all = 0..covariance.candidates;
        let of = |column| all.clone().map(|other| selection.of(column, other)).collect();
        selection.candidates = all.clone().map(of).collect();
        selection
    }

    /// Returns the covariance of a column with a candidate, before or after it.
    fn of(&self, column: usize, other: usize) -> f64 {
        let Covariance { candidates, rows, products, .. } = self.covariance;
        let at = match column == other {
            true => column * (candidates + 1),
            false => column.max(other) * (candidates + 1) + 1 + column.min(other),
        };
        products[at] as f64 / *rows as f64 - self.means[column] * self.means[other]
    }

    fn variance(&self, column: usize) -> f64 {
        self.of(column, column)
    }

    /// Chooses the earlier columns that a column is best predicted from, each with its coefficient.
    /// Each explains at least `least` of the variance that those before it have left.
    fn choose(&mut self, column: usize, least: f64) -> Vec<(usize, f64)> {
        let candidates = column.min(self.covariance.candidates);
        let mut with = std::mem::take(&mut self.with);
        let mut left = std::mem::take(&mut self.left);
        with.clear();
        with.extend((0..candidates).map(|other| self.of(column, other)));
        left.clear();
        left.extend((0..candidates).map(|other| self.candidates[other][other]));
        // A candidate of which this little is left is a sum of chosen ones.
        let nothing: Vec<f64> = left.iter().map(|v| (v / 1024.0).max(1e-9)).collect();
        let mut rest = self.variance(column);
        let mut chosen: Vec<usize> = Vec::new();
        let mut scores = Vec::new();
        while chosen.len() < MOST_TERMS {
            // The gain of each is with^2 / left: they are compared without dividing.
            let mut best = None;
            let (mut most, mut over) = (0.0, 1.0);
            for i in 0..candidates {
                let square = with[i] * with[i];
                if square * over > most * left[i] && left[i] > nothing[i] {
                    (best, most, over) = (Some(i), square, left[i]);
                }
            }
            let Some(best) = best.filter(|_| most > least * rest * over) else { break };
            rest -= most / over;
            let root = left[best].sqrt();
            let score = with[best] / root;
            let mut row = match self.factor.len() > chosen.len() {
                true => std::mem::take(&mut self.factor[chosen.len()]),
                false => {
                    self.factor.push(Vec::new());
                    Vec::new()
                }
            };
            row.clear();
            row.extend_from_slice(&self.candidates[best][..candidates]);
            for before in &self.factor[..chosen.len()] {
                let scale = before[best];
                row.iter_mut().zip(before).for_each(|(a, b)| *a -= scale * b);
            }
            row.iter_mut().for_each(|a| *a /= root);
            with.iter_mut().zip(&row).for_each(|(a, b)| *a -= score * b);
            left.iter_mut().zip(&row).for_each(|(a, b)| *a -= b * b);
            // It is not chosen again.
            left[best] = 0.0;
            self.factor[chosen.len()] = row;
            chosen.push(best);
            scores.push(score);
        }
        (self.with, self.left) = (with, left);
        self.solve(&chosen, scores)
    }

    /// Solves for the coefficients of the chosen columns: each score, less the part of those chosen
    /// later.
    fn solve(&self, chosen: &[usize], mut scores: Vec<f64>) -> Vec<(usize, f64)> {
        for i in (0..chosen.len()).rev() {
            let mut score = scores[i];
            for (j, &later) in chosen.iter().enumerate().skip(i + 1) {
                score -= self.factor[i][later] * scores[j];
            }
            scores[i] = score / self.factor[i][chosen[i]];
        }
        chosen.iter().copied().zip(scores).collect()
    }

    /// Returns the variance that a prediction leaves of a column.
    fn left(&self, column: usize, chosen: &[(usize, f64)]) -> f64 {
        let explained: f64 = chosen.iter().map(|&(other, c)| c * self.of(column, other)).sum();
        (self.variance(column) - explained).max(0.0)
    }
}

const _: () = assert!(LEVELS <= MAX_CONTEXTS);
