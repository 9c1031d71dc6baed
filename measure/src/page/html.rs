//! A report as one HTML page, which loads nothing and runs nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use at1w_container::printable;

use super::document::{Block, Cell, Document, Table};
use super::plot::Plot;

/// The look of the page, light and dark, on a screen and in print.
pub const STYLE: &str = include_str!("style.css");

/// Writes a report as HTML.
pub fn html(document: &Document) -> String {
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'";
                title { (shown(&document.title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (shown(&document.title)) }
                    @if !document.figures.is_empty() {
                        dl.figures {
                            @for (label, value) in &document.figures {
                                div { dt { (shown(label)) } dd { (cell(value)) } }
                            }
                        }
                    }
                    @for section in &document.sections {
                        section {
                            @if !section.title.is_empty() { h2 { (shown(&section.title)) } }
                            @for blocks in section.blocks.chunk_by(alike) {
                                // Pictures that follow each other lie side by side.
                                div.plots[is_plot(&blocks[0])] {
                                    @for block in blocks { (of_block(block, &section.title)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// Whether both blocks are pictures, or none is.
fn alike(a: &Block, b: &Block) -> bool {
    is_plot(a) == is_plot(b)
}

fn is_plot(block: &Block) -> bool {
    matches!(block, Block::Plot(_))
}

fn of_block(block: &Block, title: &str) -> Markup {
    markup! {
        @match block {
            Block::Text(text) => p { (shown(text)) },
            Block::List(items) => ul { @for item in items { li { (shown(item)) } } },
            Block::Table(table) => (of_table(table, title)),
            Block::Plot(plot) => (figure(plot)),
            // A line that is too long is moved by keys too.
            Block::Commands(commands) => pre tabindex="0" role="region" aria-label="Commands" {
                @for command in commands { code { (shown(command)) } "\n" }
            },
        }
    }
}

/// Writes a picture with its caption.
pub fn figure(plot: &Plot) -> Markup {
    let caption = shown(&plot.caption);
    markup! {
        figure {
            // The picture is made of numbers and of names that were escaped.
            div.plot role="img" aria-label=(caption) { (PreEscaped(&plot.svg)) }
            figcaption { (caption) "." }
        }
    }
}

fn of_table(table: &Table, title: &str) -> Markup {
    markup! {
        // On a phone a table may be wider than the screen.
        div.scroll tabindex="0" role="region" aria-label=(shown(title)) {
            table {
                thead { tr {
                    @for (head, number) in &table.columns {
                        th scope="col" .number[*number] { (shown(head)) }
                    }
                } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @if let Some(first) = row.first() { th scope="row" { (cell(first)) } }
                            @for (value, (_, number)) in row.iter().zip(&table.columns).skip(1) {
                                td .number[*number] .long[is_long(value)] { (cell(value)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a cell has a path or another text that may be cut into lines.
fn is_long(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if text.len() > 12)
}

/// Writes a cell; a number has the one of the JSON, and its place there, beside it.
fn cell(cell: &Cell) -> Markup {
    markup! {
        @match cell {
            Cell::Text(text) => (shown(text)),
            Cell::Number { shown: text, value, pointer } => {
                data value=(value) data-json=(pointer) { (shown(text)) }
            }
        }
    }
}

fn shown(text: &str) -> String {
    printable(text).into_owned()
}
