//! A report as text.

use at1w_container::printable;

use super::document::{Block, Cell, Document, Table};

/// The number of characters of a line, but for tables and words that have more.
const WIDTH: usize = 80;

/// Writes a report as text. Nothing in it moves the cursor of a terminal.
pub fn text(document: &Document) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out += &printable(text);
        out.push('\n');
    };
    line(&document.title);
    line("");
    let width = document.figures.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, cell) in &document.figures {
        line(&format!("{label:<width$}  {}", cell.shown()));
    }
    for section in &document.sections {
        if !section.title.is_empty() {
            line("");
            line(&section.title.to_uppercase());
        }
        for block in &section.blocks {
            match block {
                Block::Plot(_) => continue,
                _ => line(""),
            }
            match block {
                Block::Text(text) => wrapped(text, "").iter().for_each(|text| line(text)),
                Block::List(items) => {
                    let items = items.iter().flat_map(|item| wrapped(item, "- "));
                    items.for_each(|text| line(&text));
                }
                Block::Table(table) => rows(table).iter().for_each(|row| line(row)),
                Block::Commands(commands) => {
                    commands.iter().for_each(|command| line(&format!("    {command}")));
                }
                Block::Plot(_) => {}
            }
        }
    }
    out
}

/// Cuts a paragraph into lines at its spaces. `mark` is before the first, and room for it before
/// the others.
fn wrapped(text: &str, mark: &str) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), mark.to_owned());
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(mark.len())));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines.push(line);
    lines
}

/// Returns the lines of a table; columns of numbers are aligned at the right.
fn rows(table: &Table) -> Vec<String> {
    let heads: Vec<&str> = table.columns.iter().map(|(head, _)| head.as_str()).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(Cell::shown).collect());
    let lines: Vec<Vec<&str>> = std::iter::once(heads).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let cell = |(text, (&width, (_, number))): (&&str, (&usize, &(String, bool)))| match number {
        true => format!("{text:>width$}"),
        false => format!("{text:<width$}"),
    };
    let line = |line: &Vec<&str>| {
        let cells: Vec<String> =
            line.iter().zip(widths.iter().zip(&table.columns)).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_spaces() {
        let word = "x".repeat(50);
        let lines = wrapped(&format!("a {word} {word} b"), "- ");
        assert_eq!(lines, [format!("- a {word}"), format!("  {word} b")]);
        let long = "y".repeat(WIDTH + 1);
        assert_eq!(wrapped(&long, ""), [long]);
    }
}
