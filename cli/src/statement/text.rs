//! A statement for a terminal.

use std::fmt::Write;

use at1w_container::printable;
use at1w_registry::Sizes;

use super::sums::{Line, Statement};

/// Returns a table for each namespace, a line for each of its repositories, and the sum.
pub(crate) fn text(statement: &Statement) -> String {
    let mut out = format!(
        "{}: usage from {} to {}\n",
        printable(&statement.store),
        statement.from,
        statement.to
    );
    for namespace in &statement.namespaces {
        table(&mut out, statement, &printable(&namespace.line.name), &namespace.line);
        for line in &namespace.repositories {
            let gb = match statement.billed {
                at1w_registry::Billed::Logical => &line.gb_months.logical,
                at1w_registry::Billed::Stored => &line.gb_months.stored,
                _ => &line.gb_months.unique,
            };
            let name = printable(&line.name);
            let _ = writeln!(out, "  {name}: {} GB-months alone", gb.0);
        }
    }
    if statement.namespaces.len() != 1 {
        table(&mut out, statement, "total", &statement.total);
    }
    out
}

fn table(out: &mut String, statement: &Statement, name: &str, line: &Line) {
    let amount = line.amount.as_ref().map(|amount| {
        let price = statement.price.as_deref().unwrap_or_default();
        let (price, billed) = (statement.shown(price), statement.billed.name());
        format!(": {} at {price} for a TB-month, {billed}", statement.shown(amount))
    });
    let _ = writeln!(out, "\n{name}{}", printable(&amount.unwrap_or_default()));
    let now =
        Sizes { logical: line.logical_bytes, unique: line.unique_bytes, stored: line.stored_bytes };
    let (sums, months) = (line.byte_seconds, &line.tb_months);
    let row = |name: &str, size: &dyn Fn(&Sizes) -> u64, sum: u128, months: &str| {
        let sizes = [now, line.min, line.mean, line.max, line.end];
        let mut cells = vec![name.to_owned()];
        cells.extend(sizes.iter().map(|sizes| size(sizes).to_string()));
        cells.extend([sum.to_string(), months.to_owned()]);
        cells
    };
    let heads = ["", "now", "min", "mean", "max", "end", "byte-seconds", "TB-months"];
    let rows = [
        heads.map(str::to_owned).to_vec(),
        row("logical", &|sizes| sizes.logical, sums.logical, &months.logical.0),
        row("unique", &|sizes| sizes.unique, sums.unique, &months.unique.0),
        row("stored", &|sizes| sizes.stored, sums.stored, &months.stored.0),
    ];
    let width = |at: usize| rows.iter().map(|cells| cells[at].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..heads.len()).map(width).collect();
    for cells in &rows {
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.push('\n');
    }
}
