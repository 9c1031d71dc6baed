//! All repositories that the caller may read.

use std::collections::{BTreeMap, HashMap};

use at1w_registry::{Entry, MAIN, NamespaceUsage, Series};
use maud::{Markup, html};

use super::parts::{
    Order, Page, boxes, count, number, percent, plots, search, shown, size, table, text, time,
};
use super::place::address;
use super::{growth, shell};
use crate::access::Who;
use crate::address::{Kind, RepoId};
use crate::call::Call;
use crate::error::{Answer, Problem};

/// A repository that is listed.
struct Listed {
    id: RepoId,
    entry: Entry,
    series: Series,
}

impl Listed {
    /// Returns the length of its files, each once, and of what is stored for them.
    fn sizes(&self) -> (u64, u64) {
        let end = self.series.end();
        (end.unique, end.stored)
    }

    fn row(&self) -> Vec<Markup> {
        let Self { id, entry, .. } = self;
        let (unique, stored) = self.sizes();
        vec![
            html! {
                a href=(address(id)) { bdi { (shown(&id.shown())) } }
                @if id.kind != Kind::Model { " " span.badge { (id.kind.name()) } }
                @if entry.private { " " span.badge { "private" } }
            },
            count(entry.branches.get(MAIN).map_or(0, |main| main.files)),
            size(unique),
            size(stored),
            percent(unique.saturating_sub(stored), unique),
            time(&entry.time),
        ]
    }
}

pub(super) fn page(call: &Call) -> Answer {
    if matches!(call.who, Who::Nobody) {
        return Err(Problem::needs_token());
    }
    let wanted = call.query.get("search").unwrap_or_default().trim().to_lowercase();
    let mut found: BTreeMap<String, Vec<(RepoId, Entry)>> = BTreeMap::new();
    for entry in call.hub.store.repos(None)? {
        let Ok(id) = RepoId::of(&entry.name) else { continue };
        if call.who.sees(&entry) && id.shown().to_lowercase().contains(&wanted) {
            found.entry(id.repo.namespace.clone()).or_default().push((id, entry));
        }
    }
    let mut listed = Vec::new();
    for (namespace, repos) in found {
        // The repositories are listed all the same where they cannot be counted.
        let usage = call.hub.usages.of(&call.hub.store, &namespace).ok();
        let series = usage.as_deref().map(by_name).unwrap_or_default();
        listed.extend(repos.into_iter().map(|(id, entry)| {
            let series = series.get(entry.name.as_str()).copied().cloned().unwrap_or_default();
            Listed { id, entry, series }
        }));
    }
    sort(call, &mut listed);
    let all = Series::sum(listed.iter().map(|one| &one.series));
    let end = all.end();
    let page = Page::of(call, listed.len());
    let columns = [
        text("repository").sorted("name"),
        number("files"),
        number("each file once").sorted("size"),
        number("stored").sorted("stored"),
        number("saved").sorted("saved"),
        text("changed").sorted("time"),
    ];
    let rows = listed[page.range()].iter().map(Listed::row);
    let content = html! {
        h1 { "Repositories" }
        (boxes(&[
            ("repositories", count(listed.len() as u64)),
            ("under management", size(end.unique)),
            ("stored", size(end.stored)),
            ("saved", percent(end.unique.saturating_sub(end.stored), end.unique)),
        ]))
        (search(call, "search", "Name", "part of a name"))
        @if listed.is_empty() {
            p { @if wanted.is_empty() { "There is no repository to see." }
                @else { "No repository has that in its name." } }
        } @else {
            (table(call, "Repositories", &columns, rows))
            (page.links(call, "repositories"))
            (plots([growth::drawn(&all, "Bytes under management")]))
            p.note {
                "Under management are all revisions that branches and tags lead to, each file once "
                "a repository. Stored is what these take: packed, each tensor once. What "
                "repositories share counts in each of them."
            }
        }
    };
    Ok(shell::page(call, "Repositories", &content))
}

/// Returns the sizes of the repositories of a namespace, by their names.
fn by_name(usage: &NamespaceUsage) -> HashMap<&str, &Series> {
    usage.repos.iter().map(|repo| (repo.name.as_str(), &repo.last)).collect()
}

fn sort(call: &Call, listed: &mut [Listed]) {
    let order = Order::of(call);
    let saved = |one: &Listed| {
        let (unique, stored) = one.sizes();
        1.0 - stored as f64 / unique.max(1) as f64
    };
    match order.by {
        "name" => listed.sort_by_key(|one| one.id.shown().to_lowercase()),
        "size" => listed.sort_by_key(|one| one.sizes().0),
        "stored" => listed.sort_by_key(|one| one.sizes().1),
        "saved" => listed.sort_by(|a, b| saved(a).total_cmp(&saved(b))),
        "time" => listed.sort_by(|a, b| a.entry.time.cmp(&b.entry.time)),
        // The last ones that changed first.
        _ => return listed.sort_by(|a, b| b.entry.time.cmp(&a.entry.time)),
    }
    if order.down {
        listed.reverse();
    }
}
