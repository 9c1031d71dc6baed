//! The scale of a model: its offsets, stored and applied.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;
use at1w_simd::scale::{self, Offsets, Rows};

use crate::contexts::Contexts;
use crate::cursor::Cursor;
use crate::plane::alone;
use crate::{DecodeError, varint};

/// The most elements that a row may have.
pub(crate) const MAX_ROW_LEN: u64 = 1 << 18;

/// Column offsets are repeated up to this many, so that loops over them are long.
const TILE: usize = 1024;

/// The largest step: 255 steps, and their sum with the base, stay meaningful.
const MAX_SHIFT: u8 = 7;

/// The offset that is stored for no offset: others are above and below.
pub(crate) const NEUTRAL: u8 = 128;

/// The magnitude to which offsets bring the mean of all. There is room below for zeros, which move
/// as others do, and above for elements of 250 times the mean, before the top bit of a magnitude
/// changes.
const TARGET: i64 = 15 << 10;

/// The first byte of a model without a scale.
pub(crate) const NONE: u8 = 0;

/// Bits of the first byte of a model with one.
mod flag {
    pub(super) const ROTATE: u8 = 1;
    pub(super) const ROWS: u8 = 2;
    pub(super) const COLUMNS: u8 = 4;
    pub(super) const CONTEXTS: u8 = 8;
}

/// The scale of elements, which is applied before they are split into planes.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// Whether words are rotated by one bit more.
    pub(crate) rotate: bool,
    /// The offset of every element.
    pub(crate) base: u16,
    /// A step is 1 << this, in units of the top 16 bits.
    pub(crate) shift: u8,
    /// Elements of a row.
    pub(crate) row_len: u64,
    /// Whether each chunk holds the offsets of its rows.
    pub(crate) rows: bool,
    /// Steps of each column; empty if there are none.
    columns: Vec<u8>,
    /// The same as offsets, and repeated if there are no rows.
    offsets: Vec<u16>,
    /// The sum of these, which count as signed.
    offset_sum: i64,
    /// The magnitude to which the mean of all is brought.
    target: i64,
    /// The contexts of symbols, if scaled elements are coded as symbols and not as planes.
    pub(crate) contexts: Option<Box<Contexts>>,
}

impl Scale {
    /// Makes a scale with as many steps in `columns` as a row has elements, or none.
    pub(crate) fn new(
        rotate: bool,
        base: u16,
        shift: u8,
        row_len: u64,
        rows: bool,
        columns: Vec<u8>,
    ) -> Self {
        let once = columns.iter().map(|&steps| u16::from(steps) << shift);
        let mut offsets: Vec<u16> = once.collect();
        if !rows && !offsets.is_empty() && offsets.len() < TILE {
            offsets = offsets.repeat(TILE / offsets.len());
        }
        let offset_sum = offsets.iter().map(|&offset| i64::from(offset as i16)).sum();
        let (target, contexts) = (TARGET, None);
        Self { rotate, base, shift, row_len, rows, columns, offsets, offset_sum, target, contexts }
    }

    /// Returns the same scale with the target that contexts need.
    pub(crate) fn for_contexts(self, shift: u8) -> Self {
        let target = Contexts::target(shift);
        let base = self.base.wrapping_add((target - TARGET) as u16);
        Self { rotate: false, base, target, ..self }
    }

    /// Returns the same scale with each column up by some steps more.
    pub(crate) fn with_columns_up(self, steps: &[u8]) -> Self {
        let (base, columns) = match self.has_columns() {
            true => (self.base, self.columns.clone()),
            false => {
                let neutral = u16::from(NEUTRAL) << self.shift;
                (self.base.wrapping_sub(neutral), vec![NEUTRAL; steps.len()])
            }
        };
        let columns = columns.iter().zip(steps).map(|(a, b)| a.saturating_add(*b)).collect();
        let total: u64 = steps.iter().map(|&steps| u64::from(steps)).sum();
        // Rows stay as they are.
        let mean = (total << self.shift) / steps.len().max(1) as u64;
        let target = self.target + mean as i64;
        let scale = Self::new(self.rotate, base, self.shift, self.row_len, self.rows, columns);
        Self { target, ..scale }
    }

    /// Returns the same scale with contexts, for which it is made.
    pub(crate) fn with(self, contexts: Contexts) -> Self {
        Self { contexts: Some(Box::new(contexts)), ..self }
    }

    pub(crate) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Appends the flags, and the fields that go with them.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.rotate, flag::ROTATE),
            (self.rows, flag::ROWS),
            (self.has_columns(), flag::COLUMNS),
            (self.contexts.is_some(), flag::CONTEXTS),
        ];
        out.push(flags.iter().filter(|f| f.0).map(|f| f.1).sum());
        out.extend(self.base.to_le_bytes());
        if self.rows || self.has_columns() || self.contexts.is_some() {
            out.push(self.shift);
            varint::write(self.row_len, out);
        }
        if self.has_columns() {
            alone::write(&self.columns, out);
        }
        if let Some(contexts) = &self.contexts {
            contexts.write(out);
        }
    }

    /// Reads what [`Scale::write`] wrote; `None` if it is [`NONE`].
    pub(crate) fn read(
        layout: Layout,
        input: &mut Cursor<'_>,
    ) -> Result<Option<Self>, DecodeError> {
        let flags = input.u8()?;
        if flags == NONE {
            return Ok(None);
        }
        let known = match flags & flag::CONTEXTS {
            0 => flag::ROTATE | flag::ROWS | flag::COLUMNS,
            _ => flag::CONTEXTS | flag::ROWS | flag::COLUMNS,
        };
        if flags & !known != 0 || !layout.rotates() {
            return Err(DecodeError::UnknownModel(flags));
        }
        let base = u16::from_le_bytes(input.array()?);
        let (mut shift, mut row_len) = (0, 1);
        if flags & !flag::ROTATE != 0 {
            shift = input.u8()?;
            row_len = input.varint()?;
            if shift > MAX_SHIFT || !(1..=MAX_ROW_LEN).contains(&row_len) {
                return Err(DecodeError::Scale);
            }
        }
        let mut columns = Vec::new();
        if flags & flag::COLUMNS != 0 {
            // At most MAX_ROW_LEN.
            columns = alone::read(row_len as usize, input)?;
        }
        let (rotate, rows) = (flags & flag::ROTATE != 0, flags & flag::ROWS != 0);
        let scale = Self::new(rotate, base, shift, row_len, rows, columns);
        if flags & flag::CONTEXTS == 0 {
            return Ok(Some(scale));
        }
        let contexts = Contexts::read(row_len, input)?;
        Ok(Some(Self { target: Contexts::target(contexts.shift()), ..scale }.with(contexts)))
    }

    /// Counts the rows that the `n` elements from `position` on touch; 0 if rows have no offsets.
    pub(crate) fn row_count(&self, position: u64, n: usize) -> usize {
        if !self.rows {
            return 0;
        }
        // No more than there are elements. The position was checked before.
        let end = position.saturating_add(n as u64);
        (end.div_ceil(self.row_len) - position / self.row_len) as usize
    }

    /// Finds the steps of each row of `words`, the elements from `position` on, that bring it to
    /// the target, and appends them.
    pub(crate) fn measure_rows(
        &self,
        backend: Backend,
        width: usize,
        position: u64,
        words: &[u8],
        steps: &mut Vec<u8>,
    ) {
        if !self.rows {
            return;
        }
        let mut rest = words;
        let mut column = (position % self.row_len) as usize;
        while !rest.is_empty() {
            let len = (self.row_len as usize - column).min(rest.len() / width);
            let (words, after) = rest.split_at(width * len);
            let (mut sum, count) = scale::sum(backend, width, &[], words);
            match &self.offsets[..] {
                [] => {}
                // Hardly any element is zero.
                columns if len == columns.len() && count == len as u64 => sum += self.offset_sum,
                columns => {
                    let columns = &columns[column..][..len];
                    (sum, _) = scale::sum(backend, width, columns, words);
                }
            }
            (rest, column) = (after, 0);
            let missing =
                self.target * count as i64 - sum - i64::from(self.base as i16) * count as i64;
            let step = (count as i64) << self.shift;
            steps.push(match step {
                0 => NEUTRAL,
                _ => (missing + step / 2).div_euclid(step).clamp(0, 255) as u8,
            });
        }
    }

    /// Makes offsets of the steps of rows.
    pub(crate) fn row_offsets(&self, steps: &[u8], offsets: &mut Vec<u16>) {
        offsets.clear();
        let offset = |&steps: &u8| self.base.wrapping_add(u16::from(steps) << self.shift);
        offsets.extend(steps.iter().map(offset));
    }

    /// Scales `words`, the elements from `position` on; `rows` are the offsets of their rows.
    pub(crate) fn apply(
        &self,
        backend: Backend,
        width: usize,
        position: u64,
        rows: &[u16],
        words: &mut [u8],
    ) {
        scale::apply(backend, width, self.offsets(position, 0, rows), words);
    }

    /// Undoes [`Scale::apply`] for the elements from `position + skipped` on; `rows` are still
    /// those from `position` on.
    pub(crate) fn undo(
        &self,
        backend: Backend,
        width: usize,
        position: u64,
        skipped: usize,
        rows: &[u16],
        words: &mut [u8],
    ) {
        scale::undo(backend, width, self.offsets(position, skipped, rows), words);
    }

    fn offsets<'a>(&'a self, position: u64, skipped: usize, rows: &'a [u16]) -> Offsets<'a> {
        let start = position + skipped as u64;
        let (rows, row_len) = match self.rows {
            true => {
                let first = start / self.row_len - position / self.row_len;
                (Rows::Each(&rows[first as usize..]), self.row_len as usize)
            }
            // One row of all elements, where columns don't cut it.
            false => (Rows::Same(self.base), self.offsets.len()),
        };
        let row_len = if row_len == 0 { usize::MAX } else { row_len };
        let first = (start % row_len as u64) as usize;
        Offsets { rows, row_len, columns: &self.offsets, first, rotate: self.rotate }
    }
}

/// Returns the base that brings a mean magnitude to the target, where each of `neutral` offsets
/// adds the neutral steps.
pub(crate) fn base((sum, count): (u64, u64), shift: u8, neutral: u32) -> u16 {
    let mean = sum.checked_div(count).unwrap_or(0) as i64;
    (TARGET - mean - i64::from(neutral * (u32::from(NEUTRAL) << shift))) as u16
}
