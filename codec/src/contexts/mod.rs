//! Symbols of sign, exponent and the top three bits of the mantissa, coded together: of columns
//! whose mean is not zero the sign is likely one and not the other, and the exponent large. Columns
//! have *contexts* by how far their mean is from zero, or elements by how far from zero they are
//! [predicted](prediction) to be, and each context has a table.
//!
//! Elements are scaled first, so that magnitudes gather in a window of 15 octaves; one outside is an
//! escape.

pub(crate) mod builder;
mod coder;
pub(crate) mod prediction;
pub(crate) mod predictor;
mod table;

use std::borrow::Cow;
use std::sync::OnceLock;

use at1w_simd::contexts::{self, ContextTables};
pub(crate) use coder::{Decoder, Memory};
use prediction::Prediction;
use table::{EXPONENTS, MANTISSAS};

use crate::{DecodeError, plane, varint};

/// The most contexts.
pub(crate) const MAX_CONTEXTS: usize = contexts::MAX_CONTEXTS;

/// In a context byte: the sign is changed. The other bits are the context.
const FLIP: u8 = 0x80;

/// The symbol of an element outside of the window, as it comes out of [`Contexts::fold`].
pub(crate) const ESCAPE: u8 = (EXPONENTS as u8) << 3;

/// In the byte of the number of contexts: columns have contexts.
const COLUMNS: u8 = 0x80;

/// In the byte of the number of contexts: elements have, by what is predicted of them.
const PREDICTED: u8 = 0x40;

/// The largest shift: the symbol is taken from the magnitude's upper bits.
const MAX_SHIFT: u8 = 7;

/// What a model says of contexts.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    /// Bits of the top 16 below the symbol.
    shift: u8,
    of: Of,
    /// For each context, how often each sign and exponent is, of [`table::EXPONENT_TOTAL`].
    exponents: Vec<table::Exponents>,
    /// For each exponent, how often the top three bits of the mantissa are what.
    mantissas: table::Mantissas,
    tables: OnceLock<ContextTables>,
}

/// What has contexts.
#[derive(Clone, Debug)]
enum Of {
    /// All elements, the same one.
    All,
    /// Columns: a context byte for each.
    Columns(Vec<u8>),
    /// Elements.
    Predicted(Box<Prediction>),
}

impl Contexts {
    fn new(
        shift: u8,
        of: Of,
        exponents: Vec<table::Exponents>,
        mantissas: table::Mantissas,
    ) -> Self {
        Self { shift, of, exponents, mantissas, tables: OnceLock::new() }
    }

    /// Where the scale should bring the mean magnitude.
    pub(crate) fn target(shift: u8) -> i64 {
        11 << (shift + 3)
    }

    pub(crate) fn shift(&self) -> u8 {
        self.shift
    }

    fn tables(&self) -> &ContextTables {
        self.tables.get_or_init(|| {
            let mut tables = ContextTables::default();
            for exponents in &self.exponents {
                tables.push(&table::freqs(exponents, &self.mantissas));
            }
            tables
        })
    }

    /// What elements are predicted from, if they are.
    pub(crate) fn prediction(&self) -> Option<&Prediction> {
        match &self.of {
            Of::Predicted(prediction) => Some(prediction),
            _ => None,
        }
    }

    /// Appends the shift, the number of contexts and what has them, which of it has which, and the
    /// tables.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let count = self.exponents.len() as u8;
        match &self.of {
            Of::All => out.extend([self.shift, count]),
            Of::Columns(columns) => {
                out.extend([self.shift, count | COLUMNS]);
                plane::write(columns, out);
            }
            Of::Predicted(prediction) => {
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
                // The last one is what is missing.
                [all @ .., _] => out.extend(all.iter().map(|&f| f as u8)),
            }
        }
    }

    /// Reads what [`Contexts::write`] wrote, for rows of so many elements.
    pub(crate) fn read(row_len: u64, input: &mut &[u8]) -> Result<Self, DecodeError> {
        let (&[shift, count], rest) = input.split_first_chunk().ok_or(DecodeError::Truncated)?;
        *input = rest;
        let flags = count & (COLUMNS | PREDICTED);
        let count = usize::from(count & !flags);
        if shift > MAX_SHIFT || !(1..=MAX_CONTEXTS).contains(&count) {
            return Err(DecodeError::Contexts);
        }
        let of = match flags {
            0 => Of::All,
            COLUMNS => {
                let columns = plane::read(row_len as usize, input)?;
                if columns.iter().any(|&column| usize::from(column & !FLIP) >= count) {
                    return Err(DecodeError::Contexts);
                }
                Of::Columns(columns)
            }
            PREDICTED => Of::Predicted(Box::new(Prediction::read(row_len, count, input)?)),
            _ => return Err(DecodeError::Contexts),
        };
        let mut contexts = Vec::with_capacity(count);
        for _ in 0..count {
            contexts.push(table::read_exponents(input)?);
        }
        let mantissas = table::read_mantissas(input)?;
        Ok(Self::new(shift, of, contexts, mantissas))
    }

    /// The symbol and the bits below it of the top 16 bits of an element; for [`ESCAPE`] also what
    /// is to be kept beside.
    pub(crate) fn fold(shift: u8, top: u16) -> (u8, u8, Option<u16>) {
        let rest = (top & ((1 << shift) - 1)) as u8;
        let kept = top >> shift;
        let magnitude = (top & 0x7fff) >> shift;
        if magnitude < u16::from(ESCAPE) {
            ((top >> 8) as u8 & 0x80 | magnitude as u8, rest, None)
        } else {
            (ESCAPE, rest, Some(kept))
        }
    }

    /// The context bytes of the elements from `position` on, row by row of `row_len` elements; none
    /// unless columns have contexts.
    pub(crate) fn of_elements<'a>(
        &'a self,
        row_len: u64,
        position: u64,
        n: usize,
        memory: &'a mut Vec<u8>,
    ) -> Cow<'a, [u8]> {
        let Of::Columns(columns) = &self.of else { return Cow::Borrowed(&[]) };
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

/// The top 16 bits of each of the little-endian words.
pub(crate) fn tops(width: usize, words: &[u8], tops: &mut Vec<u16>) {
    tops.clear();
    let top = |word: &[u8]| u16::from_le_bytes([word[width - 2], word[width - 1]]);
    tops.extend(words.chunks_exact(width).map(top));
}

const _: () = assert!(MANTISSAS == 8 && EXPONENTS == 15);
