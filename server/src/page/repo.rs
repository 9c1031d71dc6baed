//! A revision of a repository: its files, what it saves, its card and how to load it.

use at1w_measure::page::{Plot, figures};
use at1w_registry::{File, MAIN, Original, Series, Sizes, proposal_number};
use maud::{Markup, html};

use super::parts::{
    Page, boxes, commands, count, counted, number, percent, plots, short, shown, shown_lines, size,
    table, text, time,
};
use super::place::{Place, address};
use super::{growth, heads, shell};
use crate::address::Kind;
use crate::call::Call;
use crate::error::Answer;
use crate::files::Opened;
use crate::listing::parameters;
use crate::revision::is_hidden;

/// The number of packed files of a revision that are opened to sum up their sizes.
const OPENED: usize = 512;

/// The card of a repository, and how much of it is shown, in bytes.
const CARD: &str = "README.md";
const CARD_LEN: u64 = 64 << 10;

pub(super) fn page(call: &Call, place: &Place) -> Answer {
    let Place { id, entry, tree, found, .. } = place;
    let usage = call.hub.usages.of(&call.hub.store, place.namespace());
    let usage = usage.ok();
    let mut known = usage.iter().flat_map(|usage| &usage.repos);
    let series = known.find(|repo| repo.name == entry.name).map(|repo| &repo.last);
    let all_sizes = series.map(Series::end).unwrap_or_default();
    let packed = packed_len(call, place);
    let signed = place.check_signed(call).is_ok();
    let parameters = match signed && place.packed().count() <= OPENED {
        true => parameters(call, id, tree).unwrap_or_default(),
        false => Default::default(),
    };
    let all: u64 = parameters.values().fold(0, |sum, count| sum.saturating_add(*count));
    let mut figures = vec![("files", count(found.files)), ("as it is", size(tree.bytes()))];
    if let Some(packed) = packed.filter(|_| place.packed().next().is_some()) {
        figures.push(("packed", size(packed)));
        figures.push(("of the size", percent(packed, tree.bytes())));
    }
    if all > 0 {
        figures.push(("parameters", count(all)));
    }
    let content = html! {
        (heads::of_repo(place))
        (boxes(&figures))
        (revisions(place))
        section { h2 #files { "Files" } (files(call, place)) }
        section {
            h2 { "Load it" }
            (load(call, place))
        }
        section {
            h2 { "What it saves" }
            (plots([
                packed.and_then(|packed| sizes(tree.bytes(), packed, all_sizes)),
                series.and_then(|series| growth::drawn(series, "All revisions")),
                by_dtype(&parameters, all),
            ]))
            p.note {
                "All revisions together are " (size(all_sizes.logical)) ", and "
                (size(all_sizes.unique)) " with each file once. They take "
                (size(all_sizes.stored)) ": packed, with every tensor stored once."
            }
        }
        @if signed { (card(call, place)?) } @else { (unsigned()) }
        (proof(call, place))
    };
    Ok(shell::page(call, &id.shown(), &content))
}

/// Returns the revision that is shown, and a way to others.
fn revisions(place: &Place) -> Markup {
    let Place { id, entry, found, .. } = place;
    let names = entry.branches.keys().chain(entry.tags.keys()).filter(|name| !is_hidden(name));
    let names: Vec<_> = names.collect();
    let pulls: Vec<_> = entry.branches.keys().filter_map(|name| proposal_number(name)).collect();
    let listed = names.iter().any(|name| **name == place.revision);
    html! {
        form.search method="get" action=(address(id)) {
            label for="revision" { "Revision" }
            select #revision name="revision" {
                @if !listed {
                    option value=(place.revision) selected { (shown(&place.revision)) }
                }
                @for name in names {
                    option value=(name) selected[*name == place.revision] { (shown(name)) }
                }
                @for number in pulls {
                    @let name = format!("refs/pr/{number}");
                    @if name != place.revision { option value=(name) { (name) } }
                }
            }
            button { "Show" }
            span.note { "Commit " (short(&found.commit)) }
        }
    }
}

/// Returns the length of a file as it is packed; `None` of one that is not.
fn stored_len(call: &Call, place: &Place, file: &File) -> Option<u64> {
    file.root?;
    match &*call.hub.original(place.namespace(), file).ok()? {
        Original::Packed(reader) => Some(reader.info().packed_len),
        Original::Plain(_) => None,
    }
}

/// Returns the length of all files as they are packed; `None` where there are too many to open.
fn packed_len(call: &Call, place: &Place) -> Option<u64> {
    if place.packed().count() > OPENED {
        return None;
    }
    let len = |file| stored_len(call, place, file).unwrap_or(file.size);
    Some(place.tree.files.values().fold(0, |sum: u64, file| sum.saturating_add(len(file))))
}

fn files(call: &Call, place: &Place) -> Markup {
    let files: Vec<_> = place.tree.files.iter().collect();
    let page = Page::of(call, files.len());
    let row = |(path, file): &(&String, &File)| {
        let stored = stored_len(call, place, file);
        vec![
            html! { a href=(place.file("blob", path)) { bdi { (shown(path)) } } },
            size(file.size),
            match stored {
                Some(stored) => size(stored),
                None => html! { "–" },
            },
            match stored {
                Some(stored) => percent(stored, file.size),
                None => html! { "–" },
            },
            short(&file.sha256.to_string()),
            html! {
                a href=(place.file("resolve", path)) { "Get" span.hidden { " " (shown(path)) } }
            },
        ]
    };
    let columns = [
        text("file"),
        number("as it is"),
        number("packed"),
        number("of the size"),
        text("SHA-256"),
        text("bytes"),
    ];
    html! {
        (table(call, "Files", &columns, files[page.range()].iter().map(row)))
        (page.links(call, "files"))
    }
}

/// Returns the commands that load a revision.
fn load(call: &Call, place: &Place) -> Markup {
    let Place { id, found, .. } = place;
    let name = id.shown();
    let pinned = match place.revision == MAIN {
        true => String::new(),
        false => format!(" --revision {}", found.commit),
    };
    let at = if place.revision == MAIN { String::new() } else { format!("@{}", found.commit) };
    let kind = match id.kind {
        Kind::Model => String::new(),
        kind => format!(" --repo-type {}", kind.name()),
    };
    let mut lines = vec![
        format!("export HF_ENDPOINT={}", call.base()),
        format!("hf download {name}{kind}{pinned}"),
    ];
    let plain = |path: &&String| {
        path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    };
    let weights = place.packed().map(|(path, _)| path).find(plain);
    if let (Kind::Model, Some(path)) = (id.kind, weights) {
        lines.push(format!("at1w ls hf://{name}{at}/{path}"));
    }
    html! {
        p { "By any client of the Hugging Face protocol, or with " code { "at1w" }
            @if place.entry.private { ", and a token in " code { "HF_TOKEN" } } "." }
        (commands("Commands that load it", &lines))
    }
}

/// Draws how much smaller the revision is, and all revisions together.
fn sizes(raw: u64, packed: u64, all: Sizes) -> Option<Plot> {
    let bar = |name: &str, part: u64, whole: u64| {
        let percent = 100.0 * part as f64 / whole.max(1) as f64;
        (name.to_owned(), percent, format!("{percent:.1} %"))
    };
    let bars = [bar("this one", packed, raw), bar("all of them", all.stored, all.unique)];
    let caption = "What this revision takes packed, and what all revisions take in the store, in \
                   percent of their files, each once";
    (raw > 0).then(|| Plot::bars(caption, &bars)).flatten()
}

/// Draws how the parameters are stored.
fn by_dtype(parameters: &std::collections::BTreeMap<String, u64>, all: u64) -> Option<Plot> {
    const SHOWN: usize = 12;
    let mut parameters: Vec<_> = parameters.iter().collect();
    parameters.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let bar = |(dtype, count): &(&String, &u64)| {
        let name: String = shown(dtype).chars().take(12).collect();
        (name, 100.0 * **count as f64 / all.max(1) as f64, figures::count(**count as f64))
    };
    let bars: Vec<_> = parameters.iter().take(SHOWN).map(bar).collect();
    Plot::bars("Parameters by dtype, in percent of all", &bars)
}

/// Returns the card as text: it is never read as markup.
fn card(call: &Call, place: &Place) -> Answer<Markup> {
    let Some(file) = place.tree.files.get(CARD).filter(|file| file.size > 0) else {
        return Ok(html! {});
    };
    let mut opened = Opened::of(call, place.namespace().to_owned(), file.clone());
    let Some(bytes) = opened.start(CARD_LEN)? else { return Ok(html! {}) };
    Ok(html! {
        section {
            h2 { "Card" }
            pre.card tabindex="0" role="region" aria-label="Card" {
                (shown_lines(&String::from_utf8_lossy(&bytes)))
            }
            @if file.size > CARD_LEN {
                p { a href=(place.file("blob", CARD)) { "The file is longer." } }
            }
        }
    })
}

/// Says why no content is shown.
fn unsigned() -> Markup {
    html! {
        section {
            h2 { "Not signed" }
            p { "No key that this server asks for has signed this revision: its files are listed, \
                 and neither shown nor handed out." }
        }
    }
}

/// Returns what the last scrub has found. How much lies in the namespace is for those who may read
/// all of it.
fn proof(call: &Call, place: &Place) -> Markup {
    let scrub = call.hub.store.last_scrub(place.namespace());
    let covers = call.who.token().is_some_and(|token| token.covers(place.namespace()));
    html! {
        section {
            h2 { "Proof" }
            dl.facts {
                dt { "SHA-256 of the tree" } dd { code { (place.found.tree) } }
                dt { "Last scrub" }
                @match &scrub {
                    Ok(Some(scrub)) => {
                        dd {
                            (time(&scrub.statement.ended))
                            @if covers {
                                ", " (size(scrub.statement.bytes))
                                " of the namespace read and proven, "
                                (counted(scrub.statement.damaged, "damaged place"))
                            }
                        }
                        dt { "Signature" }
                        dd {
                            @match &scrub.signature {
                                Some(signature) => pre tabindex="0" role="region"
                                    aria-label="Signature" { (shown_lines(signature)) },
                                None => "The scrub was not signed.",
                            }
                        }
                    }
                    Ok(None) => dd { "The namespace was not scrubbed yet." },
                    Err(_) => dd { "The record of the last scrub cannot be read." },
                }
            }
        }
    }
}
