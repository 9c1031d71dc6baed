//! The part of a model that differences share: the classes, and a table for each plane of each.

use at1w_simd::differences::Classes;
use at1w_simd::planes::Layout;

use super::classes;
use super::word::is_float;
use crate::DecodeError;
use crate::cursor::Cursor;
use crate::plane::table::PlaneTable;
use crate::tables::Tables;

/// The classes of words, and their tables.
#[derive(Clone, Debug)]
pub(crate) struct Differences {
    pub(crate) classes: Classes,
    /// The tables of each class.
    pub(crate) tables: Vec<Tables>,
}

impl Differences {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        classes::write(&self.classes, out);
        for table in self.tables.iter().flat_map(Tables::planes) {
            PlaneTable::write_kind(table.as_deref(), out);
        }
    }

    /// Reads what [`Differences::write`] wrote.
    pub(crate) fn read(layout: Layout, input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let classes = classes::read(is_float(layout), input)?;
        let mut tables = vec![Tables::none(layout); classes.count()];
        for tables in &mut tables {
            for (plane, table) in tables.planes_mut().iter_mut().enumerate() {
                *table = PlaneTable::read_kind(plane, input)?;
            }
        }
        Ok(Self { classes, tables })
    }

    /// Returns whether a table is an alias table.
    pub(crate) fn has_alias(&self) -> bool {
        self.tables.iter().any(Tables::has_alias)
    }

    pub(super) fn table(&self, class: usize, plane: usize) -> Option<&PlaneTable> {
        self.tables[class].planes()[plane].as_deref()
    }
}
