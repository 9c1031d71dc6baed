//! A report as a list of sections, before it is written down in a format.

use super::plot::Plot;

/// A report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Document {
    /// The title.
    pub title: String,
    /// The most important figures, each with its label.
    pub figures: Vec<(String, Cell)>,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// A section of a report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Section {
    /// The heading; the first section has none.
    pub title: String,
    /// The content, in order.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A list of paragraphs.
    List(Vec<String>),
    /// A table.
    Table(Table),
    /// A picture. Formats without pictures leave it out.
    Plot(Plot),
    /// Commands for a shell.
    Commands(Vec<String>),
}

/// A table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Table {
    /// The headings, and whether a column holds numbers.
    pub columns: Vec<(String, bool)>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number of the JSON report.
    Number {
        /// The number as it is shown.
        shown: String,
        /// The number as the JSON has it.
        value: String,
        /// The place in the JSON: a JSON pointer.
        pointer: String,
    },
}

impl Cell {
    /// Returns the text that is shown.
    pub fn shown(&self) -> &str {
        match self {
            Self::Text(shown) | Self::Number { shown, .. } => shown,
        }
    }
}
