//! Tables of text.

use std::io::{self, Write};

/// The widest cell that the others of its column are padded to, in characters.
const MAX_WIDTH: usize = 80;

/// The side of a column that its cells stand at.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of cells under a head.
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[(&str, Align)]) -> Self {
        let columns = head.iter().map(|(_, align)| *align).collect();
        Self { columns, rows: vec![head.iter().map(|(name, _)| (*name).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let widths: Vec<_> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), align) in row.iter().zip(&widths).zip(&self.columns) {
                line += &match align {
                    Align::Left => format!("{cell:<width$}  "),
                    Align::Right => format!("{cell:>width$}  "),
                };
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Returns the width of a column: the length of its longest cell, extreme ones aside.
    fn width(&self, column: usize) -> usize {
        let widths = self.rows.iter().map(|row| row[column].chars().count());
        widths.filter(|&width| width <= MAX_WIDTH).max().unwrap_or(0)
    }
}
