//! All repositories that the caller may read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use at1w_measure::page::Plot;
use at1w_registry::Entry;
use maud::{Markup, html};

use super::parts::{
    Order, Page, axis_bytes, boxes, count, counted, number, percent, plots, search, shown, size,
    table, text, time,
};
use super::place::address;
use super::shell;
use crate::access::Who;
use crate::address::{Kind, RepoId};
use crate::call::Call;
use crate::error::{Answer, Problem};
use crate::history::{History, Sum};

/// The number of points of a line.
const POINTS: usize = 160;

/// A repository that is listed.
struct Listed {
    id: RepoId,
    entry: Entry,
    history: Arc<History>,
    sum: Sum,
}

impl Listed {
    fn new(call: &Call, id: RepoId, entry: Entry) -> Self {
        // One whose log is damaged is listed all the same.
        let history = History::of(&call.hub, &id, &entry);
        let history = history.unwrap_or_else(|_| Arc::new(History { commits: Vec::new() }));
        let sum = history.sum();
        Self { id, entry, history, sum }
    }

    fn row(&self) -> Vec<Markup> {
        let Self { id, entry, sum, .. } = self;
        let files = entry.branches.get(at1w_registry::MAIN).map_or(0, |main| main.files);
        vec![
            html! {
                a href=(address(id)) { bdi { (shown(&id.shown())) } }
                @if id.kind != Kind::Model { " " span.badge { (id.kind.name()) } }
                @if entry.private { " " span.badge { "private" } }
            },
            count(files),
            count(self.history.commits.len() as u64),
            size(sum.logical),
            size(sum.stored),
            percent(sum.logical.saturating_sub(sum.stored), sum.logical),
            time(&entry.time),
        ]
    }
}

pub(super) fn page(call: &Call) -> Answer {
    if matches!(call.who, Who::Nobody) {
        return Err(Problem::needs_token());
    }
    let wanted = call.query.get("search").unwrap_or_default().trim().to_lowercase();
    let mut listed = Vec::new();
    for entry in call.hub.store.repos(None)? {
        let Ok(id) = RepoId::of(&entry.name) else { continue };
        if call.who.sees(&entry) && id.shown().to_lowercase().contains(&wanted) {
            listed.push(Listed::new(call, id, entry));
        }
    }
    sort(call, &mut listed);
    let all = listed.iter().fold(Sum::default(), |sum, one| sum.and(one.sum));
    let shown_page = Page::of(call, listed.len());
    let columns = [
        text("repository").sorted("name"),
        number("files"),
        number("revisions").sorted("revisions"),
        number("as they are").sorted("size"),
        number("stored").sorted("stored"),
        number("saved").sorted("saved"),
        text("changed").sorted("time"),
    ];
    let rows = listed[shown_page.range()].iter().map(Listed::row);
    let content = html! {
        h1 { "Models" }
        (boxes(&[
            ("repositories", count(listed.len() as u64)),
            ("under management", size(all.logical)),
            ("stored", size(all.stored)),
            ("saved", percent(all.logical.saturating_sub(all.stored), all.logical)),
        ]))
        (search(call, "search", "Repositories", "part of a name"))
        @if listed.is_empty() {
            p { @if wanted.is_empty() { "There is no repository to see." }
                @else { "No repository has that in its name." } }
        } @else {
            (table(call, "Repositories", &columns, rows))
            (shown_page.links(call, "repositories"))
            (plots([growth(&listed)]))
            p.note {
                (counted(listed.len() as u64, "repository").replace("repositorys", "repositories"))
                ". Under management is every revision as it is; each file counts in each of its "
                "revisions. Stored is what these took, packed, each tensor once."
            }
        }
    };
    Ok(shell::page(call, "Models", &content))
}

fn sort(call: &Call, listed: &mut [Listed]) {
    let order = Order::of(call);
    let saved = |one: &Listed| {
        let Sum { logical, stored } = one.sum;
        (stored as f64 / (logical as f64).max(1.0) * 1e9) as u64
    };
    match order.by {
        "name" => listed.sort_by_key(|one| one.id.shown().to_lowercase()),
        "revisions" => listed.sort_by_key(|one| one.history.commits.len()),
        "size" => listed.sort_by_key(|one| one.sum.logical),
        "stored" => listed.sort_by_key(|one| one.sum.stored),
        "saved" => listed.sort_by_key(|one| std::cmp::Reverse(saved(one))),
        "time" => listed.sort_by(|a, b| a.entry.time.cmp(&b.entry.time)),
        // The last ones that changed first.
        _ => return listed.sort_by(|a, b| b.entry.time.cmp(&a.entry.time)),
    }
    if order.down {
        listed.reverse();
    }
}

/// Draws what was under management and what was stored over time.
fn growth(listed: &[Listed]) -> Option<Plot> {
    let steps = listed.iter().flat_map(|one| one.history.steps());
    let mut steps: Vec<_> = steps.filter_map(|(time, step)| Some((seconds(time)?, step))).collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (first, _) = *steps.first()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    let last = now.max(steps.last()?.0);
    let mut lines = [Vec::new(), Vec::new()];
    let (mut sum, mut drawn) = (Sum::default(), 0);
    let mut add = |at: f64, sum: Sum| {
        for (line, value) in lines.iter_mut().zip([sum.logical, sum.stored]) {
            // A step: what was before holds until now.
            if let Some(&(_, before)) = line.last() {
                line.push((at, before));
            }
            line.push((at, value as f64));
        }
    };
    for (place, &(at, step)) in steps.iter().enumerate() {
        sum = sum.and(step);
        let slot = ((at - first) / (last - first).max(1.0) * POINTS as f64) as usize;
        let next = steps.get(place + 1);
        let is_last = next.is_none_or(|next| {
            ((next.0 - first) / (last - first).max(1.0) * POINTS as f64) as usize > slot
        });
        if is_last || drawn == 0 {
            add(at, sum);
            drawn += 1;
        }
    }
    add(last, sum);
    let [logical, stored] = lines;
    let caption = "Bytes under management over time, and what is stored for them".to_owned();
    let date = move |at: f64| date(at, last - first);
    let lines = [("stored", stored), ("as they are", logical)];
    Plot::lines(caption, &lines, [&date, &axis_bytes])
}

/// Parses a time in RFC 3339; returns the seconds since 1970.
fn seconds(time: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
}

/// Writes a time at an axis that covers so many seconds: the day, or the hour of a short one.
fn date(seconds: f64, span: f64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds.max(0.0));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let range = if span < 2.0 * 24.0 * 3600.0 { 11..16 } else { 2..10 };
    text.get(range).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_at_axes_are_short() {
        assert_eq!(date(0.0, 1e3), "00:00");
        assert_eq!(date(86400.0, 1e9), "70-01-02");
    }
}
