//! What several pages have: figures, tables, pictures, and lists by the hundred.

use at1w_container::printable;
use at1w_measure::page::{Plot, figure, figures};
use maud::{Markup, html};

use crate::call::Call;

/// The number of rows of a page.
pub(super) const ROWS: usize = 100;

/// Returns a text that others have chosen, without what would hide or reorder other text.
pub(super) fn shown(text: &str) -> String {
    printable(text).into_owned()
}

/// Returns a text of several lines in the same way.
pub(super) fn shown_lines(text: &str) -> String {
    let lines = text.lines().map(|line| shown(line.trim_end_matches('\r')).replace("\\t", "    "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes a number of bytes.
pub(super) fn size(bytes: u64) -> Markup {
    html! { data value=(bytes) { (figures::bytes(bytes as f64)) } }
}

/// Writes a number of bytes at an axis: `20 MB`.
pub(super) fn axis_bytes(bytes: f64) -> String {
    let text = figures::bytes(bytes);
    let (digits, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    format!("{digits} {unit}")
}

/// Writes a number of things.
pub(super) fn count(count: u64) -> Markup {
    html! { data value=(count) { (figures::count(count as f64)) } }
}

/// Writes a part of a whole, in percent; a dash where there is no whole.
pub(super) fn percent(part: u64, whole: u64) -> Markup {
    if whole == 0 {
        return html! { "–" };
    }
    let percent = 100.0 * part as f64 / whole as f64;
    html! { data value=(percent) { (figures::percent(percent)) } }
}

/// Counts things: `1 file`, `2 files`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    let shown = figures::count(count as f64);
    format!("{shown} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Writes a time in RFC 3339 as people read it.
pub(super) fn time(time: &str) -> Markup {
    let text = shown(time);
    let (day, clock) = text.split_once('T').unwrap_or((&text, ""));
    html! { time datetime=(text) { (day) " " (clock.get(..5).unwrap_or_default()) } }
}

/// Writes the first digits of a hash.
pub(super) fn short(hash: &str) -> Markup {
    html! { code title=(hash) { (hash.get(..12).unwrap_or(hash)) } }
}

/// Returns figures, each with its label.
pub(super) fn boxes(figures: &[(&str, Markup)]) -> Markup {
    html! {
        dl.figures {
            @for (label, value) in figures { div { dt { (label) } dd { (value) } } }
        }
    }
}

/// Returns pictures, side by side.
pub(super) fn plots(plots: impl IntoIterator<Item = Option<Plot>>) -> Markup {
    let plots: Vec<_> = plots.into_iter().flatten().collect();
    html! { @if !plots.is_empty() { div.plots { @for plot in &plots { (figure(plot)) } } } }
}

/// A column of a table.
pub(super) struct Column<'a> {
    pub(super) head: &'a str,
    pub(super) number: bool,
    /// The name that it is sorted by.
    pub(super) sort: Option<&'a str>,
}

/// Returns a column of texts.
pub(super) fn text(head: &str) -> Column<'_> {
    Column { head, number: false, sort: None }
}

/// Returns a column of numbers.
pub(super) fn number(head: &str) -> Column<'_> {
    Column { head, number: true, sort: None }
}

impl<'a> Column<'a> {
    /// Has the table be sorted by the column where it is asked for.
    pub(super) fn sorted(self, sort: &'a str) -> Self {
        Self { sort: Some(sort), ..self }
    }
}

/// The order that a list is asked for in.
pub(super) struct Order<'a> {
    pub(super) by: &'a str,
    pub(super) down: bool,
}

impl<'a> Order<'a> {
    /// Returns the order of a request: the name of a column, with a minus sign from the last to the
    /// first.
    pub(super) fn of(call: &'a Call) -> Self {
        let asked = call.query.get("sort").unwrap_or_default();
        let by = asked.strip_prefix('-');
        Self { by: by.unwrap_or(asked), down: by.is_some() }
    }

    /// Returns the head of a column, with a link that sorts by it, or turns the order.
    fn head(&self, call: &Call, column: &Column<'_>) -> Markup {
        let Some(name) = column.sort else { return html! { (column.head) } };
        let own = self.by == name;
        let next = if own && !self.down { format!("-{name}") } else { name.to_owned() };
        let query = call.query.with(&[("sort", &next), ("page", "")]);
        html! {
            a href={ "?" (query) } {
                (column.head)
                span.arrow aria-hidden="true" {
                    @match (own, self.down) { (true, true) => "↓", (true, _) => "↑", _ => "↕" }
                }
            }
        }
    }
}

/// Returns a table. The first cell of a row is its head.
pub(super) fn table(
    call: &Call,
    label: &str,
    columns: &[Column<'_>],
    rows: impl IntoIterator<Item = Vec<Markup>>,
) -> Markup {
    let order = Order::of(call);
    let sorted = |column: &Column<'_>| {
        let own = column.sort.is_some_and(|name| name == order.by);
        own.then_some(if order.down { "descending" } else { "ascending" })
    };
    html! {
        // On a phone a table may be wider than the screen.
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr {
                    @for column in columns {
                        th scope="col" .number[column.number] aria-sort=[sorted(column)] {
                            (order.head(call, column))
                        }
                    }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (place, (cell, column)) in row.iter().zip(columns).enumerate() {
                                @if place == 0 { th scope="row" { (cell) } }
                                @else { td .number[column.number] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A page of a list.
pub(super) struct Page {
    number: usize,
    all: usize,
}

impl Page {
    /// Returns the page of a list of so many that is asked for.
    pub(super) fn of(call: &Call, all: usize) -> Self {
        let asked = call.query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        Self { number: usize::clamp(asked, 1, all.div_ceil(ROWS).max(1)), all }
    }

    /// Returns the rows that are on it.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let from = (self.number - 1) * ROWS;
        from..self.all.min(from + ROWS)
    }

    /// Returns the links to the pages before and after it.
    pub(super) fn links(&self, call: &Call, things: &str) -> Markup {
        let pages = self.all.div_ceil(ROWS);
        let to = |page: usize| format!("?{}", call.query.with(&[("page", &page.to_string())]));
        let range = self.range();
        html! {
            @if pages > 1 {
                nav.pages aria-label={ "Pages of " (things) } {
                    @if self.number > 1 {
                        a rel="prev" href=(to(self.number - 1)) { "Before" }
                    }
                    span {
                        (figures::count(range.start as f64 + 1.0)) "–"
                        (figures::count(range.end as f64))
                        " of " (figures::count(self.all as f64)) " " (things)
                    }
                    @if self.number < pages { a rel="next" href=(to(self.number + 1)) { "After" } }
                }
            }
        }
    }
}

/// Returns a form that looks for something, without losing the order.
pub(super) fn search(call: &Call, name: &str, label: &str, hint: &str) -> Markup {
    let value = call.query.get(name).unwrap_or_default();
    html! {
        form.search method="get" role="search" {
            @for kept in ["sort", "tensor", "from", "to"] {
                @if let Some(value) = call.query.get(kept) {
                    input type="hidden" name=(kept) value=(value);
                }
            }
            label for=(name) { (label) }
            input id=(name) type="search" name=(name) value=(value) placeholder=(hint);
            button { "Find" }
        }
    }
}

/// Returns commands to copy.
pub(super) fn commands(label: &str, commands: &[String]) -> Markup {
    html! {
        pre.commands tabindex="0" role="region" aria-label=(label) {
            @for command in commands { code { (shown(command)) } "\n" }
        }
    }
}

/// Writes a shape.
pub(super) fn shape(shape: &[u64]) -> String {
    let dims: Vec<_> = shape.iter().map(u64::to_string).collect();
    if dims.is_empty() { "scalar".into() } else { dims.join(" × ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_or_reorders_other_text() {
        assert_eq!(shown("a\u{202e}b\u{7}"), "a\\u{202e}b\\u{7}");
        assert_eq!(shown_lines("a\r\n\tb\u{2066}\n"), "a\n    b\\u{2066}");
        let page = html! { (shown("<script>\"'&")) }.into_string();
        assert!(!page.contains('<') && page.contains("&lt;script&gt;"), "{page}");
    }

    #[test]
    fn numbers_at_axes_are_short() {
        assert_eq!(
            [axis_bytes(2e7), axis_bytes(1.5e9), axis_bytes(0.0)],
            ["20 MB", "1.5 GB", "0 B"]
        );
    }

    #[test]
    fn shapes_are_read_by_people() {
        assert_eq!([shape(&[]), shape(&[3, 4])], ["scalar", "3 × 4"]);
    }
}
