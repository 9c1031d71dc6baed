//! The contexts of a model: which elements have which, and the table of each.

use std::borrow::Cow;
use std::sync::OnceLock;

use at1w_simd::contexts::{ContextTables, MAX_CONTEXTS};

use super::frequencies::{self, Exponents, Mantissas};
use crate::cursor::Cursor;
use crate::plane::alone;
use crate::prediction::Prediction;
use crate::symbol::context_of;
use crate::{DecodeError, varint};

/// In the byte of the number of contexts: columns have contexts.
const COLUMNS: u8 = 0x80;

/// In the byte of the number of contexts: elements have contexts, by their prediction.
const PREDICTED: u8 = 0x40;

/// The largest shift: the symbol is taken from the magnitude's upper bits.
const MAX_SHIFT: u8 = 7;

/// The contexts of a tensor, with their frequencies.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    /// Bits of the top 16 below the symbol.
    shift: u8,
    assignment: Assignment,
    /// For each context, how often each sign and exponent is, of [`frequencies::EXPONENT_TOTAL`].
    exponents: Vec<Exponents>,
    /// For each exponent, how often the top three bits of the mantissa have each value.
    mantissas: Mantissas,
    tables: OnceLock<ContextTables>,
}

/// The choice of a context for each element.
#[derive(Clone, Debug)]
pub(crate) enum Assignment {
    /// All elements have the same one.
    All,
    /// Columns have a context byte each.
    Columns(Vec<u8>),
    /// Elements have the one that goes with their prediction.
    Predicted(Box<Prediction>),
}

impl Contexts {
    pub(crate) fn new(
        shift: u8,
        assignment: Assignment,
        exponents: Vec<Exponents>,
        mantissas: Mantissas,
    ) -> Self {
        Self { shift, assignment, exponents, mantissas, tables: OnceLock::new() }
    }

    /// Returns the magnitude to which the scale should bring the mean.
    pub(crate) fn target(shift: u8) -> i64 {
        11 << (shift + 3)
    }

    pub(crate) fn shift(&self) -> u8 {
        self.shift
    }

    /// Returns the tables for coding symbols, made at the first call.
    pub(super) fn tables(&self) -> &ContextTables {
        self.tables.get_or_init(|| {
            let mut tables = ContextTables::default();
            for exponents in &self.exponents {
                tables.push(&frequencies::freqs(exponents, &self.mantissas));
            }
            tables
        })
    }

    /// Returns the prediction, if elements are predicted.
    pub(crate) fn prediction(&self) -> Option<&Prediction> {
        match &self.assignment {
            Assignment::Predicted(prediction) => Some(prediction),
            _ => None,
        }
    }

    /// Appends the shift, the number of contexts with flags, the choice of contexts, and the
    /// tables.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let count = self.exponents.len() as u8;
        match &self.assignment {
            Assignment::All => out.extend([self.shift, count]),
            Assignment::Columns(columns) => {
                out.extend([self.shift, count | COLUMNS]);
                alone::write(columns, out);
            }
            Assignment::Predicted(prediction) => {
                out.extend([self.shift, count | PREDICTED]);
                prediction.write(out);
            }
        }
        for exponents in &self.exponents {
            exponents.iter().for_each(|&f| varint::write(f.into(), out));
        }
        for mantissas in &self.mantissas {
            match mantissas {
                [32, 32, 32, 32, 32, 32, 32, 32] => out.push(0),
                // The last one is the rest of the total.
                [all @ .., _] => out.extend(all.iter().map(|&f| f as u8)),
            }
        }
    }

    /// Reads what [`Contexts::write`] wrote, for rows of so many elements.
    pub(crate) fn read(row_len: u64, input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let [shift, count] = input.array()?;
        let flags = count & (COLUMNS | PREDICTED);
        let count = usize::from(count & !flags);
        if shift > MAX_SHIFT || !(1..=MAX_CONTEXTS).contains(&count) {
            return Err(DecodeError::Contexts);
        }
        let assignment = match flags {
            0 => Assignment::All,
            COLUMNS => {
                let columns = alone::read(row_len as usize, input)?;
                if columns.iter().any(|&column| usize::from(context_of(column)) >= count) {
                    return Err(DecodeError::Contexts);
                }
                Assignment::Columns(columns)
            }
            PREDICTED => Assignment::Predicted(Box::new(Prediction::read(row_len, count, input)?)),
            _ => return Err(DecodeError::Contexts),
        };
        let mut contexts = Vec::with_capacity(count);
        for _ in 0..count {
            contexts.push(frequencies::read_exponents(input)?);
        }
        let mantissas = frequencies::read_mantissas(input)?;
        Ok(Self::new(shift, assignment, contexts, mantissas))
    }

    /// Returns the context bytes of the elements from `position` on, row by row of `row_len`
    /// elements; none unless columns have contexts.
    pub(crate) fn of_elements<'a>(
        &'a self,
        row_len: u64,
        position: u64,
        n: usize,
        memory: &'a mut Vec<u8>,
    ) -> Cow<'a, [u8]> {
        let Assignment::Columns(columns) = &self.assignment else { return Cow::Borrowed(&[]) };
        let first = (position % row_len) as usize;
        if let Some(row) = columns.get(first..first + n) {
            return Cow::Borrowed(row);
        }
        memory.clear();
        memory.extend_from_slice(&columns[first..]);
        while memory.len() < n {
            let len = columns.len().min(n - memory.len());
            memory.extend_from_slice(&columns[..len]);
        }
        Cow::Borrowed(&memory[..n])
    }
}
