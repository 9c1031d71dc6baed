//! A statement as a page to print.

use at1w_container::printable;
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::sums::{Line, Statement};

const STYLE: &str = "\
    :root { color-scheme: light dark; }\
    body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; \
    padding: 0 1rem; }\
    table { border-collapse: collapse; width: 100%; }\
    th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #8886; }\
    th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }\
    .repository td:first-child { padding-left: 1.5rem; }\
    tfoot, .namespace { font-weight: bold; }";

/// Returns a page without scripts that loads nothing.
pub(crate) fn html(statement: &Statement) -> String {
    let billed = statement.billed.name();
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Usage from " (statement.from) " to " (statement.to) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Usage" }
                p { (shown(&statement.store)) ", from " (statement.from) " to " (statement.to) }
                table {
                    thead {
                        tr {
                            th scope="col" { "Namespace, repository" }
                            th scope="col" { "Mean (GB)" }
                            th scope="col" { "At the end (GB)" }
                            th scope="col" { "TB-months" }
                            th scope="col" { "Reads (GB)" }
                            th scope="col" { "Amount" }
                        }
                    }
                    tbody {
                        @for (_, is_repo, line) in statement.lines() {
                            (row(statement, line, is_repo))
                        }
                    }
                    tfoot { (row(statement, &statement.total, false)) }
                }
                p {
                    "Sizes are " (billed) ": " (meaning(billed)) " What several repositories have \
                    counts once in their namespace. A GB has 10"
                    sup { "9" } " bytes, a TB 10" sup { "12" } ", and a month 730 hours. "
                    @if let Some(price) = &statement.price {
                        "A TB-month costs " (shown(&statement.shown(price))) ". "
                    }
                    "Reads are counted, and cost nothing."
                }
                @if !statement.faults.is_empty() {
                    h2 { "Not known" }
                    ul { @for fault in &statement.faults { li { (shown(fault)) } } }
                }
            }
        }
    };
    page.into_string()
}

fn shown(text: &str) -> String {
    printable(text).into_owned()
}

fn meaning(billed: &str) -> &'static str {
    match billed {
        "logical" => "the length of the files of all revisions.",
        "stored" => "what is stored, each tensor once.",
        _ => "the length of the files of all revisions, each once.",
    }
}

fn row(statement: &Statement, line: &Line, is_repo: bool) -> Markup {
    let of = |values: at1w_registry::Sizes| match statement.billed.name() {
        "logical" => values.logical,
        "stored" => values.stored,
        _ => values.unique,
    };
    let months = match statement.billed.name() {
        "logical" => &line.tb_months.logical,
        "stored" => &line.tb_months.stored,
        _ => &line.tb_months.unique,
    };
    let gb = |bytes: u64| format!("{}.{:03}", bytes / 1_000_000_000, bytes / 1_000_000 % 1_000);
    let name = if line.name.is_empty() { "Total" } else { &line.name };
    markup! {
        tr class=(if is_repo { "repository" } else { "namespace" }) {
            td { (shown(name)) }
            td { (gb(of(line.mean))) }
            td { (gb(of(line.end))) }
            td { (months.0) }
            td { (gb(line.sent_bytes)) }
            // A repository shares with others of its namespace, which is what is billed.
            td {
                @if let Some(amount) = line.amount.as_ref().filter(|_| !is_repo) {
                    (shown(&statement.shown(amount)))
                }
            }
        }
    }
}
