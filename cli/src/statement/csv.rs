//! A statement as a table of comma-separated values, for a spreadsheet.

use std::fmt::Write;

use super::sums::{Decimal, Statement};

/// The columns.
const HEAD: &str = "from,to,namespace,repository,size,now_bytes,min_bytes,mean_bytes,max_bytes,\
                    end_bytes,byte_seconds,gb_months,tb_months,amount,currency,requests,sent_bytes";

/// Returns a row for each size of each namespace and repository.
pub(crate) fn csv(statement: &Statement) -> String {
    let mut out = format!("{HEAD}\r\n");
    for (namespace, is_repo, line) in statement.lines() {
        let repo = if is_repo { line.name.as_str() } else { "" };
        let now = [line.logical_bytes, line.unique_bytes, line.stored_bytes];
        let sums = line.byte_seconds;
        let sums = [sums.logical, sums.unique, sums.stored];
        let each = |sizes: at1w_registry::Sizes| [sizes.logical, sizes.unique, sizes.stored];
        let [min, mean, max, end] = [line.min, line.mean, line.max, line.end].map(each);
        let decimals = |values: &at1w_registry::Three<Decimal>| {
            [&values.logical, &values.unique, &values.stored].map(|value| value.0.clone())
        };
        let (gb, tb) = (decimals(&line.gb_months), decimals(&line.tb_months));
        for (at, name) in ["logical", "unique", "stored"].into_iter().enumerate() {
            let billed = name == statement.billed.name();
            let amount = line.amount.as_deref().filter(|_| billed).unwrap_or_default();
            let currency = statement.currency.as_deref().filter(|_| billed).unwrap_or_default();
            let _ = write!(
                out,
                "{},{},{},{},{name},{},{},{},{},{},{},{},{},{amount},{},{},{}\r\n",
                statement.from,
                statement.to,
                text(namespace),
                text(repo),
                now[at],
                min[at],
                mean[at],
                max[at],
                end[at],
                sums[at],
                gb[at],
                tb[at],
                text(currency),
                line.requests,
                line.sent_bytes
            );
        }
    }
    out
}

/// Returns a text in quotes. A program that takes some texts for formulas gets an apostrophe before
/// them.
fn text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let apostrophe = if formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", at1w_container::printable(text).replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        assert_eq!(text("lab"), "\"lab\"");
        assert_eq!(text("=1+1"), "\"'=1+1\"");
        assert_eq!(text("@x\",=2"), "\"'@x\"\",=2\"");
        assert!(!text("a\nb\u{202e}").contains(['\n', '\u{202e}']));
    }
}
