//! The commits of a revision.

use maud::{Markup, html};

use super::parts::{Page, count, number, short, shown, size, table, text, time};
use super::place::{Place, address};
use super::{heads, shell};
use crate::address::encode;
use crate::call::Call;
use crate::error::Answer;
use crate::listing::{history, title};

pub(super) fn page(call: &Call, place: &Place) -> Answer {
    let commits = history(call, &place.id, &place.entry, &place.revision)?;
    let page = Page::of(call, commits.len());
    let own = address(&place.id);
    let row = |(number, (name, commit)): (usize, &(String, at1w_registry::Commit))| -> Vec<Markup> {
        let before = commits.get(number + 1).map(|(name, _)| name);
        let (title, _) = title(&commit.message);
        vec![
            html! { a href={ (own) "/tree/" (encode(name)) } { (short(name)) } },
            html! { bdi { (shown(title)) } },
            html! { bdi { (shown(&commit.author)) } },
            time(&commit.time),
            count(commit.files),
            size(commit.bytes),
            size(commit.stored),
            html! {
                @if let Some(before) = before {
                    a href={ (own) "/compare?from=" (encode(before)) "&to=" (encode(name)) } {
                        "Compare" span.hidden { " " (short(before)) " with " (short(name)) }
                    }
                }
            },
        ]
    };
    let columns = [
        text("commit"),
        text("message"),
        text("by"),
        text("time"),
        number("files"),
        number("as it is"),
        number("stored for it"),
        text("with the one before"),
    ];
    let range = page.range();
    let rows = range.clone().zip(&commits[range]).map(row);
    let content = html! {
        (heads::of_repo(place))
        h2 { "Revisions of " bdi { (shown(&place.revision)) } }
        (table(call, "Revisions", &columns, rows))
        (page.links(call, "revisions"))
    };
    Ok(shell::page(call, &format!("Revisions of {}", place.id.shown()), &content))
}
