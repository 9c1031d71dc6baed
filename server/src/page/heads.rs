//! The heads of pages of repositories and files.

use at1w_registry::File;
use maud::{Markup, html};

use super::parts::{shown, size};
use super::place::{Place, address};
use crate::address::encode;

/// Returns the head of every page of a repository.
pub(super) fn of_repo(place: &Place) -> Markup {
    let Place { id, entry, .. } = place;
    html! {
        p.kind {
            (id.kind.name())
            @if entry.private { " " span.badge { "private" } }
        }
        h1 { a href=(address(id)) { bdi { (shown(&id.shown())) } } }
        nav.tabs aria-label="The repository" {
            a href=(place.page("tree")) { "Files" }
            a href=(place.page("commits")) { "Revisions" }
            a href={ (address(id)) "/compare?to=" (encode(&place.revision)) } { "Compare" }
        }
    }
}

/// Returns the head of the pages of a file.
pub(super) fn of_file(place: &Place, path: &str, file: &File) -> Markup {
    html! {
        h2 { a href=(place.file("blob", path)) { bdi { (shown(path)) } } }
        dl.facts {
            dt { "As it is" }
            dd { (size(file.size)) ", " a href=(place.file("resolve", path)) { "get it" } }
            dt { "SHA-256" } dd { code { (file.sha256) } }
            @if let Some(root) = file.root { dt { "Root" } dd { code { (root) } } }
        }
    }
}
