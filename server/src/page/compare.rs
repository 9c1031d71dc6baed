//! Two revisions, compared by their tensors.

use std::sync::Arc;

use at1w_container::Differences;
use at1w_registry::{Original, TensorEntry, tensors_of};
use maud::{Markup, html};

use super::parts::{Page, count, shape, short, shown, table, text};
use super::place::Place;
use super::{heads, shell};
use crate::address::RepoId;
use crate::call::Call;
use crate::error::{Answer, Problem};
use crate::listing::history;

/// The number of packed files of a revision that are compared.
const FILES: usize = 512;

/// The number of tensors of a revision that are compared.
const TENSORS: usize = 200_000;

/// The kinds of differences, as the address names them.
const KINDS: [&str; 5] = ["changed", "added", "removed", "renamed", "same"];

pub(super) fn page(call: &Call, id: RepoId) -> Answer {
    let new = Place::find(call, id.clone(), call.query.get("to"))?;
    let from = match call.query.get("from").filter(|from| !from.is_empty()) {
        Some(from) => Some(from.to_owned()),
        // The commit before.
        None => {
            let before = history(call, &id, &new.entry, &new.revision)?;
            before.into_iter().nth(1).map(|(name, _)| name)
        }
    };
    let old = from.map(|from| Place::find(call, id, Some(&from))).transpose()?;
    let content = html! {
        (heads::of_repo(&new))
        h2 { "Compare by tensor" }
        form.search method="get" {
            label for="from" { "From" }
            input #from type="text" name="from"
                value=(old.as_ref().map_or("", |old| &old.revision));
            label for="to" { "To" }
            input #to type="text" name="to" value=(new.revision);
            button { "Compare" }
        }
        @match &old {
            None => p { "There is no revision before this one." },
            Some(old) => (compared(call, old, &new)?),
        }
    };
    Ok(shell::page(call, &format!("Compare · {}", new.id.shown()), &content))
}

fn tensors(call: &Call, place: &Place) -> Answer<std::collections::BTreeMap<String, TensorEntry>> {
    place.check_signed(call)?;
    if place.packed().count() > FILES {
        let message = format!("More than {FILES} files of weights: compare them by at1w diff");
        return Err(Problem::too_large(message));
    }
    let mut left = TENSORS;
    tensors_of(&place.tree, |file| -> Answer<Arc<_>> {
        let original = call.hub.original(place.namespace(), file)?;
        if let Original::Packed(reader) = &*original {
            let rest = left.checked_sub(reader.len());
            let message = || format!("More than {TENSORS} tensors: compare them by at1w diff");
            left = rest.ok_or_else(|| Problem::too_large(message()))?;
        }
        Ok(original)
    })
}

fn compared(call: &Call, old: &Place, new: &Place) -> Answer<Markup> {
    let found = Differences::of(tensors(call, old)?, tensors(call, new)?);
    let counts = [
        found.changed.len(),
        found.added.len(),
        found.removed.len(),
        found.renamed.len(),
        found.same.len(),
    ];
    let first = counts.iter().position(|&count| count > 0).unwrap_or(KINDS.len() - 1);
    let asked = call.query.get("kind");
    let asked = asked.and_then(|asked| KINDS.iter().position(|kind| *kind == asked));
    let shown_kind = asked.unwrap_or(first);
    let page = Page::of(call, counts[shown_kind]);
    let name = |name: &str| html! { bdi { (shown(name)) } };
    let about = |entry: &TensorEntry| {
        html! {
            (shown(&entry.dtype)) " "
            @if let ("file", [len]) = (entry.dtype.as_str(), &entry.shape[..]) {
                (count(*len)) " bytes"
            } @else { (shape(&entry.shape)) }
        }
    };
    let digest = |entry: &TensorEntry| short(&entry.digest.to_string());
    let single =
        |(key, entry): (&String, &TensorEntry)| vec![name(key), about(entry), digest(entry)];
    let range = page.range();
    let (skip, take) = (range.start, range.len());
    let (columns, rows): (&[&str], Vec<Vec<Markup>>) = match KINDS[shown_kind] {
        "changed" => {
            let rows = found.changed.iter().skip(skip).take(take).map(|(key, (from, to))| {
                vec![name(key), about(from), about(to), digest(from), digest(to)]
            });
            (&["tensor", "was", "is", "SHA-256 before", "SHA-256"], rows.collect())
        }
        "renamed" => {
            let rows = found.renamed[range].iter();
            (&["was", "is"], rows.map(|(from, to)| vec![name(from), name(to)]).collect())
        }
        "same" => (&["tensor"], found.same[range].iter().map(|key| vec![name(key)]).collect()),
        kind => {
            let of = if kind == "added" { &found.added } else { &found.removed };
            let rows = of.iter().skip(skip).take(take).map(single).collect();
            (&["tensor", "what", "SHA-256"], rows)
        }
    };
    let columns: Vec<_> = columns.iter().map(|head| text(head)).collect();
    Ok(html! {
        p {
            "From " (short(&old.found.commit)) " to " (short(&new.found.commit)) ": "
            a href=(old.page("tree")) { bdi { (shown(&old.revision)) } } " and "
            a href=(new.page("tree")) { bdi { (shown(&new.revision)) } } "."
        }
        nav.tabs aria-label="Differences" {
            @for (place, (kind, number)) in KINDS.iter().zip(counts).enumerate() {
                @let current = place == shown_kind;
                a href={ "?" (call.query.with(&[("kind", kind), ("page", "")])) }
                    aria-current=[current.then_some("true")] {
                    (kind) " " (count(number as u64))
                }
            }
        }
        @if rows.is_empty() {
            p { "No tensor, and no other file, is " (KINDS[shown_kind]) "." }
        } @else {
            (table(call, KINDS[shown_kind], &columns, rows))
            (page.links(call, "tensors and files"))
        }
        p.note { "Tensors go by name, dtype, shape and SHA-256; other files by their paths." }
    })
}
