//! The byte contexts of a model: the classes of columns, and the levels of each context.

use std::ops::Range;
use std::sync::OnceLock;

use at1w_simd::byte_contexts::{ByteTables, MAX_CONTEXTS};

use super::levels::{self, Levels, Mirror};
use crate::cursor::Cursor;
use crate::plane::alone;
use crate::scale::MAX_ROW_LEN;
use crate::{DecodeError, varint};

/// The way that elements make rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Elements that have the class of a row in common.
    pub(crate) row_len: u64,
    /// Elements from a column to the next element of the same one.
    pub(crate) columns: u64,
    /// The number of classes of rows.
    pub(crate) row_classes: usize,
    /// The number of classes of columns.
    pub(crate) column_classes: usize,
}

impl Shape {
    pub(crate) fn contexts(self) -> usize {
        self.row_classes * self.column_classes
    }

    /// Returns the runs of elements of one row each in `n` elements from `position` on.
    pub(crate) fn rows(self, position: u64, n: usize) -> impl Iterator<Item = Range<usize>> {
        let mut end = 0_usize;
        std::iter::from_fn(move || {
            let start = end;
            let left = self.row_len - (position + start as u64) % self.row_len;
            end = n.min(start.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            (start < end).then_some(start..end)
        })
    }

    /// Counts the rows that `n` elements from `position` on lie in.
    pub(super) fn row_count(self, position: u64, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let (first, last) = (position / self.row_len, (position + n as u64 - 1) / self.row_len);
        (last - first + 1) as usize
    }
}

/// The byte contexts of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct ByteContexts {
    pub(super) shape: Shape,
    /// The symbol that stands for itself and for those without slots.
    pub(super) escape: u8,
    mirror: Mirror,
    /// The class of each column; empty if there is one class.
    classes: Vec<u8>,
    levels: Vec<Levels>,
    tables: OnceLock<ByteTables>,
    /// The cost of each symbol in each context, in 1/256 bit, made when something is encoded.
    costs: OnceLock<Vec<[u32; 256]>>,
}

impl ByteContexts {
    /// Makes contexts of levels that all have slots.
    pub(crate) fn new(
        shape: Shape,
        escape: u8,
        mirror: Mirror,
        classes: Vec<u8>,
        levels: Vec<Levels>,
    ) -> Self {
        debug_assert_eq!(levels.len(), shape.contexts(), "levels for each context");
        Self {
            shape,
            escape,
            mirror,
            classes,
            levels,
            tables: OnceLock::new(),
            costs: OnceLock::new(),
        }
    }

    pub(crate) fn row_len(&self) -> u64 {
        self.shape.row_len.max(self.shape.columns)
    }

    /// Names the classes that there are, in a word.
    pub(crate) fn name(&self) -> &'static str {
        match (self.shape.row_classes > 1, self.shape.column_classes > 1) {
            (false, false) => "bytes",
            (true, false) => "rows, bytes",
            (false, true) => "columns, bytes",
            (true, true) => "rows+columns, bytes",
        }
    }

    /// Returns the tables for coding symbols, made at the first call.
    pub(super) fn tables(&self) -> &ByteTables {
        self.tables.get_or_init(|| {
            let mut tables = ByteTables::default();
            for levels in &self.levels {
                tables.push(&levels::freqs(levels).expect("checked where they were read or made"));
            }
            tables
        })
    }

    /// Returns the cost of each symbol in each context, in 1/256 bit.
    pub(super) fn symbol_costs(&self) -> &[[u32; 256]] {
        self.costs.get_or_init(|| {
            let costs = self.levels.iter().map(|levels| levels::symbol_costs(levels, self.escape));
            costs.collect()
        })
    }

    /// Appends the row length and the number of columns, the number of classes of each, the escape,
    /// the classes of the columns, and the levels.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Shape { row_len, columns, row_classes, column_classes } = self.shape;
        varint::write(row_len, out);
        varint::write(columns, out);
        out.push((row_classes - 1) as u8 | ((column_classes - 1) << 4) as u8);
        out.extend([self.escape, self.mirror as u8]);
        if column_classes > 1 {
            alone::write(&self.classes, out);
        }
        let stored = self.mirror.stored();
        let differences = self.levels.iter().map(levels::differences);
        let differences = differences.flat_map(|levels| levels.into_iter().take(stored));
        alone::write(&differences.collect::<Vec<_>>(), out);
    }

    /// Reads what [`ByteContexts::write`] wrote.
    pub(crate) fn read(input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let (row_len, columns) = (input.varint()?, input.varint()?);
        let [classes, escape, mirror] = input.array()?;
        let (row_classes, column_classes) =
            (usize::from(classes & 0xf) + 1, usize::from(classes >> 4) + 1);
        let shape = Shape { row_len, columns, row_classes, column_classes };
        let lens = 1..=MAX_ROW_LEN;
        let mirror = Mirror::ALL.get(usize::from(mirror)).copied().ok_or(DecodeError::Contexts)?;
        if !lens.contains(&row_len) || !lens.contains(&columns) || shape.contexts() > MAX_CONTEXTS {
            return Err(DecodeError::Contexts);
        }
        let mut classes = Vec::new();
        if column_classes > 1 {
            classes = alone::read(columns as usize, input)?;
            if classes.iter().any(|&class| usize::from(class) >= column_classes) {
                return Err(DecodeError::Contexts);
            }
        }
        let differences = alone::read(mirror.stored() * shape.contexts(), input)?;
        let levels = differences.chunks_exact(mirror.stored());
        let levels = levels.map(|differences| levels::read(differences, mirror));
        let levels: Vec<_> = levels.collect::<Result<_, _>>()?;
        if levels.iter().any(|levels| levels::freqs(levels).is_none()) {
            return Err(DecodeError::Contexts);
        }
        Ok(Self::new(shape, escape, mirror, classes, levels))
    }

    /// Puts the class of each column into `classes`, for `n` elements from `position` on.
    pub(crate) fn column_classes(&self, position: u64, n: usize, classes: &mut Vec<u8>) {
        classes.clear();
        if self.classes.is_empty() {
            classes.resize(n, 0);
            return;
        }
        let first = (position % self.shape.columns) as usize;
        classes.extend_from_slice(&self.classes[first..][..n.min(self.classes.len() - first)]);
        while classes.len() < n {
            let len = self.classes.len().min(n - classes.len());
            classes.extend_from_slice(&self.classes[..len]);
        }
    }
}
