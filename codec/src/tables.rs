//! The tables of the planes of a tensor.

use at1w_simd::planes::Layout;

use crate::limits::MAX_PLANES;
use crate::plane::table::PlaneTable;

/// A table for each plane that needs one. They are boxed one by one, so that a model without any
/// takes no memory.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// The table of the plane of row steps, and then those of the planes of elements.
    tables: [Option<Box<PlaneTable>>; 1 + MAX_PLANES],
    width: usize,
}

/// Index of the plane of row steps among the tables; those of the elements follow.
const ROWS: usize = 0;

impl Tables {
    /// No table for any plane of `layout`.
    pub(crate) fn none(layout: Layout) -> Self {
        Self { tables: Default::default(), width: layout.width() }
    }

    /// Returns the table of row steps, and then those of the planes.
    pub(crate) fn all_mut(&mut self) -> &mut [Option<Box<PlaneTable>>] {
        &mut self.tables[..=self.width]
    }

    /// Returns the tables of the planes.
    pub(crate) fn planes_mut(&mut self) -> &mut [Option<Box<PlaneTable>>] {
        &mut self.all_mut()[ROWS + 1..]
    }

    pub(crate) fn all(&self) -> &[Option<Box<PlaneTable>>] {
        &self.tables[..=self.width]
    }

    /// Returns the table of row steps.
    pub(crate) fn rows(&self) -> Option<&PlaneTable> {
        self.tables[ROWS].as_deref()
    }

    /// Returns the tables of the planes.
    pub(crate) fn planes(&self) -> &[Option<Box<PlaneTable>>] {
        &self.all()[ROWS + 1..]
    }

    /// Returns whether a table is an alias table.
    pub(crate) fn has_alias(&self) -> bool {
        let is_alias = |table: &PlaneTable| matches!(table, PlaneTable::Alias(_));
        self.all().iter().flatten().any(|table| is_alias(table))
    }
}
