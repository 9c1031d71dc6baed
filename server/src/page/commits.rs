//! The commits of a revision.

use at1w_registry::{Commit, parse_time};
use maud::{Markup, html};

use super::parts::{Page, number, short, shown, size, table, text, time};
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
    let usage = call.hub.usages.of(&call.hub.store, place.namespace()).ok();
    let mut known = usage.iter().flat_map(|usage| &usage.repos);
    let series = known.find(|repo| repo.name == place.entry.name).map(|repo| &repo.last);
    // What the repository has grown by: not what a push has stored, which would tell what others of
    // the namespace hold.
    let grown = |number: usize| {
        let after = number.checked_sub(1).map(|after| &commits[after].1.time);
        let time = &commits[number].1.time;
        let time = parse_time(time).filter(|_| after != Some(time))?;
        let at = |time: u64| series.map_or(0, |series| series.at(time).stored);
        Some(at(time).saturating_sub(at(time.saturating_sub(1))))
    };
    let row = |(place, (name, commit)): (usize, &(String, Commit))| -> Vec<Markup> {
        let before = commits.get(place + 1).map(|(name, _)| name);
        let (title, _) = title(&commit.message);
        vec![
            html! { bdi { (shown(title)) } },
            html! { a href={ (own) "/tree/" (encode(name)) } { (short(name)) } },
            html! { bdi { (shown(&commit.author)) } },
            time(&commit.time),
            size(commit.bytes),
            match grown(place) {
                Some(grown) => size(grown),
                None => html! { "–" },
            },
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
        text("message"),
        text("commit"),
        text("by"),
        text("time"),
        number("as it is"),
        number("the store grew by"),
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
