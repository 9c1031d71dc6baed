//! A report as Markdown.

use at1w_container::printable;

use super::document::{Block, Cell, Document, Table};

/// Writes a report as Markdown, without its pictures.
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n", escaped(&document.title));
    let figures = document.figures.iter();
    let figures = figures.map(|(label, cell)| {
        let (label, shown) = (escaped(label), escaped(cell.shown()));
        format!("\n- {label}: **{shown}**")
    });
    out.extend(figures);
    out.push('\n');
    for section in &document.sections {
        if !section.title.is_empty() {
            out += &format!("\n## {}\n", escaped(&section.title));
        }
        for block in &section.blocks {
            match block {
                Block::Text(text) => out += &format!("\n{}\n", escaped(text)),
                Block::List(items) => {
                    out.push('\n');
                    out.extend(items.iter().map(|item| format!("- {}\n", escaped(item))));
                }
                Block::Table(table) => out += &rows(table),
                Block::Commands(commands) => {
                    let commands: Vec<_> = commands.iter().map(|line| printable(line)).collect();
                    out += &format!("\n```sh\n{}\n```\n", commands.join("\n"));
                }
                Block::Plot(_) => {}
            }
        }
    }
    out
}

fn rows(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heads = table.columns.iter().map(|(head, _)| escaped(head)).collect();
    let rules = table.columns.iter().map(|(_, number)| if *number { "---:" } else { "---" });
    let rules: Vec<&str> = rules.collect();
    let rows = table.rows.iter();
    let rows = rows.map(|row| line(row.iter().map(Cell::shown).map(escaped).collect()));
    format!("\n{}|{}|\n{}", line(heads), rules.join("|"), rows.collect::<String>())
}

/// Escapes what Markdown would take for markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
