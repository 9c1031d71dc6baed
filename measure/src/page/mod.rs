//! The report for people: as HTML, Markdown and text, all made of one [`Document`].
//!
//! `content` says what is on the page, and takes every number from the JSON of the report; `html`,
//! `markdown` and `text` write it down, `plots` draws. The look ([`STYLE`]), the pictures
//! ([`Plot`]) and the [`figures`] are those of other pages as well.

mod content;
mod document;
pub mod figures;
mod html;
mod markdown;
mod plot;
mod plots;
mod text;

pub use self::content::document;
pub use self::document::{Block, Cell, Document, Section, Table};
pub use self::html::{STYLE, figure, html};
pub use self::markdown::markdown;
pub use self::plot::Plot;
pub use self::text::text;
