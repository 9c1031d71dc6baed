//! The second pass for contexts: how often each symbol occurs in each context.

use at1w_simd::Backend;
use at1w_simd::prediction::Column;

use super::column_moments::COLUMN_CONTEXTS;
use super::context_choice::{costs, merged, merged_context, sum, symbol_cost, table_cost};
use super::quantise::{quantise_exponents, quantise_mantissas};
use crate::contexts::frequencies::Mantissas;
use crate::contexts::{Assignment, Contexts};
use crate::cost::{BIT, Cost, Counted, log2};
use crate::prediction::{LEVELS, Prediction};
use crate::symbol::{EXPONENTS, FLIP, MANTISSAS, Symbol, context_of};
use crate::tops::Tops;

/// The number of occurrences of symbols, by context: the context of a column or the level of a
/// prediction, before those that are alike are merged.
#[derive(Clone, Debug)]
struct SymbolCounts {
    exponents: Vec<[u64; 32]>,
    mantissas: [[u64; MANTISSAS]; EXPONENTS],
    /// How many symbols.
    counted: u64,
}

impl SymbolCounts {
    fn new(contexts: usize) -> Self {
        let mantissas = [[0; MANTISSAS]; EXPONENTS];
        Self { exponents: vec![[0; 32]; contexts], mantissas, counted: 0 }
    }

    /// Takes the symbol of an element with this context byte.
    #[inline]
    fn add(&mut self, context: u8, symbol: Symbol) {
        let symbol = symbol.flipped(context);
        self.exponents[usize::from(context_of(context))][symbol.signed_exponent()] += 1;
        if !symbol.is_escape() {
            self.mantissas[symbol.exponent()][symbol.mantissa()] += 1;
        }
        self.counted += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let all = self.exponents.iter_mut().flatten().chain(self.mantissas.iter_mut().flatten());
        let others = other.exponents.iter().flatten().chain(other.mantissas.iter().flatten());
        all.zip(others).for_each(|(a, b)| *a += b);
        self.counted += other.counted;
    }

    fn counted(&self, elements: u64) -> Counted {
        Counted { elements, counted: self.counted }
    }

    /// Returns the frequencies of mantissas, and their cost in the whole tensor.
    fn mantissas(&self, counted: Counted) -> (Mantissas, Cost) {
        let mantissas = self.mantissas.map(|counts| quantise_mantissas(&counts));
        let mut cost = 0;
        for (counts, freqs) in self.mantissas.iter().zip(&mantissas) {
            for (&count, &freq) in counts.iter().zip(freqs) {
                cost += count * (8 * BIT - log2(freq.into()));
            }
        }
        (mantissas, counted.extend(cost))
    }

    /// Returns the counts of all contexts together, with both signs equally likely.
    fn one(&self) -> [u64; 32] {
        let mut one = self.exponents.iter().fold([0; 32], |all, context| sum(&all, context));
        for exponent in 0..EXPONENTS {
            let both = one[exponent] + one[exponent + 16];
            (one[exponent], one[exponent + 16]) = (both.div_ceil(2), both.div_ceil(2));
        }
        one
    }
}

/// The symbols of columns.
#[derive(Clone, Debug)]
pub(crate) struct ColumnCounts {
    columns: Vec<u8>,
    counts: SymbolCounts,
}

impl ColumnCounts {
    /// Starts with the context byte of each column.
    pub(crate) fn new(columns: Vec<u8>) -> Self {
        Self { columns, counts: SymbolCounts::new(COLUMN_CONTEXTS) }
    }

    pub(crate) fn add(&mut self, tops: &Tops<'_>) {
        let mut column = (tops.position % tops.row_len) as usize;
        for &top in tops.tops {
            self.counts.add(self.columns[column], Symbol::fold(tops.shift, top).symbol);
            column = if column + 1 == self.columns.len() { 0 } else { column + 1 };
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
    }

    /// Returns the contexts that code these symbols best, and the cost of a tensor of so many
    /// elements, without the contexts themselves and the bits below the symbols.
    pub(crate) fn build(self, shift: u8, elements: u64) -> (Contexts, Cost) {
        let counted = self.counts.counted(elements);
        let (mantissas, mantissa_cost) = self.counts.mantissas(counted);
        let one = self.counts.one();
        let one_cost = symbol_cost(&one, counted) + table_cost(&one);

        let contexts = merged(&self.counts.exponents, counted);
        let mut columns = self.columns;
        for column in &mut columns {
            *column = *column & FLIP | merged_context(&contexts, context_of(*column));
        }
        let (symbols, tables) = costs(&contexts, counted);
        let plane = columns.len() as Cost * (2 + u64::from(contexts.len().ilog2())) * BIT;
        if symbols + tables + plane < one_cost {
            let exponents = contexts.iter().map(|(_, counts)| quantise_exponents(counts)).collect();
            let contexts = Contexts::new(shift, Assignment::Columns(columns), exponents, mantissas);
            (contexts, symbols + mantissa_cost)
        } else {
            let exponents = vec![quantise_exponents(&one)];
            let symbols = symbol_cost(&one, counted);
            (Contexts::new(shift, Assignment::All, exponents, mantissas), symbols + mantissa_cost)
        }
    }
}

/// The symbols of predicted elements.
#[derive(Clone, Debug)]
pub(crate) struct PredictedCounts {
    /// A context for each level.
    prediction: Prediction,
    counts: SymbolCounts,
    memory: Vec<Column>,
}

impl PredictedCounts {
    /// Starts with a prediction that has a context for each level.
    pub(crate) fn new(prediction: Prediction) -> Self {
        Self { prediction, counts: SymbolCounts::new(LEVELS), memory: Vec::new() }
    }

    /// Takes whole rows.
    pub(crate) fn add(&mut self, backend: Backend, tops: &Tops<'_>) {
        let row_len = self.prediction.row_len();
        let rows = tops.tops.len() / row_len;
        let counts = &mut self.counts;
        let done =
            self.prediction.walk(backend, rows, &mut self.memory, |run, contexts, symbols| {
                for (row, (symbol, &context)) in (run.row..).zip(symbols.iter_mut().zip(contexts)) {
                    let top = tops.tops[row * row_len + run.column];
                    let folded = Symbol::fold(tops.shift, top).symbol;
                    counts.add(context, folded);
                    *symbol = folded.byte();
                }
                Ok(())
            });
        debug_assert!(done.is_ok(), "nothing can fail");
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
    }

    /// Returns the contexts and the cost, as [`ColumnCounts::build`] does.
    pub(crate) fn build(self, shift: u8, elements: u64) -> (Contexts, Cost) {
        let counted = self.counts.counted(elements);
        let (mantissas, mantissa_cost) = self.counts.mantissas(counted);
        let contexts = merged(&self.counts.exponents, counted);
        let levels = std::array::from_fn(|level| merged_context(&contexts, level as u8));
        let (symbols, _) = costs(&contexts, counted);
        let exponents = contexts.iter().map(|(_, counts)| quantise_exponents(counts)).collect();
        let assignment = Assignment::Predicted(Box::new(self.prediction.with(levels)));
        (Contexts::new(shift, assignment, exponents, mantissas), symbols + mantissa_cost)
    }
}
