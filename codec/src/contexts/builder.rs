//! From the elements of a tensor to its contexts, in two passes: one that measures how far the mean
//! of each column is from zero, and one that counts symbols.

use at1w_simd::Backend;
use at1w_simd::prediction::Column;

use super::prediction::{LEVELS, Prediction};
use super::table::{EXPONENT_TOTAL, EXPONENTS, Exponents, MANTISSA_TOTAL, MANTISSAS, Mantissas};
use super::{Contexts, ESCAPE, FLIP, Of};
use crate::builder::Whole;
use crate::cost::{BIT, BYTE, Cost, log2};

/// The bounds between contexts: the square of the mean in parts of 2^16 of the mean square, for
/// means of 0.05, 0.1, 0.16, 0.25, 0.4, 0.6, 0.9, 1.4 and 2.2 standard deviations.
const BOUNDS: [u128; 9] = [163, 649, 1636, 3855, 9039, 17348, 29330, 43400, 54329];

const MOST: usize = BOUNDS.len() + 1;

/// Tables of more contexts save little, and take longer to look up since they are in no cache.
const MOST_TABLES: usize = 5;

/// What an escape costs beside its code.
const ESCAPED: Cost = 16 * BIT;

/// Symbols of a pass: what [`Contexts::fold`] makes of the elements of a chunk.
pub(crate) struct Folded<'a> {
    pub(crate) shift: u8,
    pub(crate) row_len: u64,
    pub(crate) position: u64,
    /// The top 16 bits of each element, scaled.
    pub(crate) tops: &'a [u16],
}

/// The first pass: sums of each column.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    sums: Vec<i64>,
    squares: Vec<u64>,
    counts: Vec<u64>,
}

impl Moments {
    pub(crate) fn new(row_len: u64) -> Self {
        let n = row_len as usize;
        Self { sums: vec![0; n], squares: vec![0; n], counts: vec![0; n] }
    }

    pub(crate) fn add(&mut self, folded: &Folded<'_>) {
        let mut column = (folded.position % folded.row_len) as usize;
        for &top in folded.tops {
            let (symbol, _, escape) = Contexts::fold(folded.shift, top);
            if escape.is_none() {
                let (exponent, mantissa) = (symbol >> 3 & 15, i64::from(symbol & 7) + 8);
                let value = mantissa << exponent;
                self.sums[column] += if symbol & FLIP != 0 { -value } else { value };
                // At most 2^18: many rows fit.
                self.squares[column] += ((value * value) >> 8) as u64;
                self.counts[column] += 1;
            }
            column = if column + 1 == self.sums.len() { 0 } else { column + 1 };
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }

    /// The byte of each column: its context, and whether signs change so that its mean is positive.
    pub(crate) fn columns(&self) -> Vec<u8> {
        let sums = self.sums.iter().zip(&self.squares).zip(&self.counts);
        let column = |((&sum, &square), &count): ((&i64, &u64), &u64)| {
            let mean = u128::from(sum.unsigned_abs());
            let whole = (u128::from(square) << 8) * u128::from(count);
            let part = ((mean * mean) << 16) / whole.max(1);
            let context = BOUNDS.iter().filter(|&&bound| part >= bound).count() as u8;
            context | if sum < 0 { FLIP } else { 0 }
        };
        sums.map(column).collect()
    }
}

/// The second pass: how often symbols are, by context: the context of a column or the level of a
/// prediction, before those that are alike become one.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    exponents: Vec<[u64; 32]>,
    mantissas: [[u64; MANTISSAS]; EXPONENTS],
    /// How many symbols.
    counted: u64,
}

impl Counts {
    fn new(contexts: usize) -> Self {
        let mantissas = [[0; MANTISSAS]; EXPONENTS];
        Self { exponents: vec![[0; 32]; contexts], mantissas, counted: 0 }
    }

    /// Takes the symbol of an element with this context byte.
    #[inline]
    fn add(&mut self, context: u8, symbol: u8) {
        let flip = if symbol == ESCAPE { 0 } else { context & FLIP };
        let symbol = symbol ^ flip;
        self.exponents[usize::from(context & !FLIP)][usize::from(symbol >> 3)] += 1;
        if symbol != ESCAPE {
            self.mantissas[usize::from(symbol >> 3 & 15)][usize::from(symbol & 7)] += 1;
        }
        self.counted += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let all = self.exponents.iter_mut().flatten().chain(self.mantissas.iter_mut().flatten());
        let others = other.exponents.iter().flatten().chain(other.mantissas.iter().flatten());
        all.zip(others).for_each(|(a, b)| *a += b);
        self.counted += other.counted;
    }

    fn whole(&self, elements: u64) -> Whole {
        Whole { elements, counted: self.counted }
    }

    /// The frequencies of mantissas, and what these cost in the whole tensor.
    fn mantissas(&self, whole: Whole) -> (Mantissas, Cost) {
        let mantissas = self.mantissas.map(|counts| quantise_mantissas(&counts));
        let mut cost = 0;
        for (counts, freqs) in self.mantissas.iter().zip(&mantissas) {
            for (&count, &freq) in counts.iter().zip(freqs) {
                cost += count * (8 * BIT - log2(freq.into()));
            }
        }
        (mantissas, whole.of(cost))
    }

    /// The counts of all contexts, none with one sign likelier than the other.
    fn one(&self) -> [u64; 32] {
        let mut one = self.exponents.iter().fold([0; 32], |all, context| sum(&all, context));
        for exponent in 0..EXPONENTS {
            let both = one[exponent] + one[exponent + 16];
            (one[exponent], one[exponent + 16]) = (both.div_ceil(2), both.div_ceil(2));
        }
        one
    }
}

/// What symbols of columns are.
#[derive(Clone, Debug)]
pub(crate) struct ColumnCounts {
    columns: Vec<u8>,
    counts: Counts,
}

impl ColumnCounts {
    /// With the context byte of each column.
    pub(crate) fn new(columns: Vec<u8>) -> Self {
        Self { columns, counts: Counts::new(MOST) }
    }

    pub(crate) fn add(&mut self, folded: &Folded<'_>) {
        let mut column = (folded.position % folded.row_len) as usize;
        for &top in folded.tops {
            let (symbol, _, _) = Contexts::fold(folded.shift, top);
            self.counts.add(self.columns[column], symbol);
            column = if column + 1 == self.columns.len() { 0 } else { column + 1 };
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
    }

    /// The contexts that code these symbols best, and what that costs for a tensor of so many
    /// elements, all but the contexts themselves and the bits below the symbols.
    pub(crate) fn build(self, shift: u8, elements: u64) -> (Contexts, Cost) {
        let whole = self.counts.whole(elements);
        let (mantissas, mantissa_cost) = self.counts.mantissas(whole);
        let one = self.counts.one();
        let one_cost = symbol_cost(&one, whole) + table_cost(&one);

        let contexts = merged(&self.counts.exponents, whole);
        let mut columns = self.columns;
        for column in &mut columns {
            *column = *column & FLIP | class_of(&contexts, *column & !FLIP);
        }
        let (symbols, tables) = costs(&contexts, whole);
        let plane = columns.len() as Cost * (2 + u64::from(contexts.len().ilog2())) * BIT;
        if symbols + tables + plane < one_cost {
            let exponents = contexts.iter().map(|(_, counts)| quantise(counts)).collect();
            let contexts = Contexts::new(shift, Of::Columns(columns), exponents, mantissas);
            (contexts, symbols + mantissa_cost)
        } else {
            let exponents = vec![quantise(&one)];
            let symbols = symbol_cost(&one, whole);
            (Contexts::new(shift, Of::All, exponents, mantissas), symbols + mantissa_cost)
        }
    }
}

/// What symbols of predicted elements are.
#[derive(Clone, Debug)]
pub(crate) struct PredictedCounts {
    /// A context for each level.
    prediction: Prediction,
    counts: Counts,
    memory: Vec<Column>,
}

impl PredictedCounts {
    /// With a prediction that has a context for each level.
    pub(crate) fn new(prediction: Prediction) -> Self {
        Self { prediction, counts: Counts::new(LEVELS), memory: Vec::new() }
    }

    /// Takes whole rows.
    pub(crate) fn add(&mut self, backend: Backend, folded: &Folded<'_>) {
        let row_len = self.prediction.row_len();
        let rows = folded.tops.len() / row_len;
        let counts = &mut self.counts;
        let done =
            self.prediction.walk(backend, rows, &mut self.memory, |run, contexts, symbols| {
                for (row, (symbol, &context)) in (run.row..).zip(symbols.iter_mut().zip(contexts)) {
                    let top = folded.tops[row * row_len + run.column];
                    (*symbol, _, _) = Contexts::fold(folded.shift, top);
                    counts.add(context, *symbol);
                }
                Ok(())
            });
        debug_assert!(done.is_ok(), "nothing can fail");
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
    }

    /// As [`ColumnCounts::build`].
    pub(crate) fn build(self, shift: u8, elements: u64) -> (Contexts, Cost) {
        let whole = self.counts.whole(elements);
        let (mantissas, mantissa_cost) = self.counts.mantissas(whole);
        let contexts = merged(&self.counts.exponents, whole);
        let levels = std::array::from_fn(|level| class_of(&contexts, level as u8));
        let (symbols, _) = costs(&contexts, whole);
        let exponents = contexts.iter().map(|(_, counts)| quantise(counts)).collect();
        let of = Of::Predicted(Box::new(self.prediction.with(levels)));
        (Contexts::new(shift, of, exponents, mantissas), symbols + mantissa_cost)
    }
}

/// What the symbols and the tables of contexts cost.
fn costs(contexts: &[Context], whole: Whole) -> (Cost, Cost) {
    let symbols = contexts.iter().map(|(_, counts)| symbol_cost(counts, whole)).sum();
    (symbols, contexts.iter().map(|(_, counts)| table_cost(counts)).sum())
}

/// The context that a context has become a part of.
fn class_of(contexts: &[Context], context: u8) -> u8 {
    let context = contexts.iter().position(|(members, _)| members.contains(&context));
    context.expect("each is in one of them") as u8
}

/// Contexts that share a table, and their counts.
type Context = (Vec<u8>, [u64; 32]);

/// Makes neighbours one where a table of its own costs more than it saves, or there are too many.
fn merged(counts: &[[u64; 32]], whole: Whole) -> Vec<Context> {
    let mut contexts: Vec<Context> = (0..).zip(counts).map(|(i, c)| (vec![i], *c)).collect();
    let cost = |counts: &[u64; 32]| symbol_cost(counts, whole) + table_cost(counts);
    loop {
        let gain = |i: usize| {
            let (a, b) = (&contexts[i].1, &contexts[i + 1].1);
            (cost(a) + cost(b)) as i64 - cost(&sum(a, b)) as i64
        };
        let best = (0..contexts.len() - 1).map(|i| (gain(i), i)).max();
        let many = contexts.len() > MOST_TABLES;
        let Some((_, i)) = best.filter(|&(gain, _)| gain > 0 || many) else { return contexts };
        let (members, counts) = contexts.remove(i + 1);
        contexts[i].0.extend(members);
        contexts[i].1 = sum(&contexts[i].1, &counts);
    }
}

fn sum(a: &[u64; 32], b: &[u64; 32]) -> [u64; 32] {
    std::array::from_fn(|i| a[i] + b[i])
}

/// What symbols with these counts cost; mantissas aside.
fn symbol_cost(counts: &[u64; 32], whole: Whole) -> Cost {
    let mut cost = counts[EXPONENTS] * ESCAPED;
    for (&count, &freq) in counts.iter().zip(&quantise(counts)) {
        cost += count * (12 * BIT - log2(freq.max(1).into()));
    }
    whole.of(cost)
}

/// What the table for these counts takes.
fn table_cost(counts: &[u64; 32]) -> Cost {
    quantise(counts).iter().map(|&freq| if freq < 128 { BYTE } else { 2 * BYTE }).sum()
}

/// Frequencies of sign and exponent: each that occurs at least 1, and the escape in any case.
fn quantise(counts: &[u64; 32]) -> Exponents {
    let mut weights: [u64; 31] = std::array::from_fn(|i| counts[i]);
    weights[EXPONENTS] = weights[EXPONENTS].max(1);
    let mut freqs = [0; 31];
    share(&weights, EXPONENT_TOTAL, &mut freqs);
    freqs
}

/// Frequencies of mantissas: each at least 1 and less than 256.
fn quantise_mantissas(counts: &[u64; MANTISSAS]) -> [u16; MANTISSAS] {
    let mut freqs = [0; MANTISSAS];
    share(&counts.map(|c| c + 1), MANTISSA_TOTAL, &mut freqs);
    freqs
}

/// Shares `total` by weight; who has a weight gets at least 1. What is left over goes to the one
/// that has most.
fn share(weights: &[u64], total: u16, freqs: &mut [u16]) {
    let sum: u64 = weights.iter().sum();
    let mut left = i32::from(total);
    for (freq, &weight) in freqs.iter_mut().zip(weights) {
        let part = u128::from(weight) * u128::from(total) + u128::from(sum / 2);
        *freq = if weight == 0 { 0 } else { ((part / u128::from(sum)) as u16).max(1) };
        left -= i32::from(*freq);
    }
    while left != 0 {
        let most = (0..freqs.len()).max_by_key(|&i| (freqs[i], i)).expect("there are some");
        freqs[most] = (i32::from(freqs[most]) + left.signum()) as u16;
        left -= left.signum();
    }
}
