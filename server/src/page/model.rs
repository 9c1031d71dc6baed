//! A file of weights: its tensors by the hundred, and where its bytes go.

use std::collections::BTreeMap;

use at1w_container::{Reader, Tensor};
use at1w_measure::Kind;
use at1w_measure::page::{Plot, figures};
use maud::{Markup, html};

use super::parts::{
    Order, Page, boxes, commands, count, number, percent, plots, search, shape, short, shown, size,
    table, text,
};
use super::place::{Place, address};
use super::{heads, shell};
use crate::address::encode;
use crate::call::Call;
use crate::error::{Answer, Problem};

/// The number of entries of the metadata that are listed.
const METADATA: usize = 50;

/// The longest value of one that is shown, in characters.
const VALUE: usize = 500;

pub(super) fn page(call: &Call, place: &Place, path: &str, reader: &Reader) -> Answer {
    let file = place.tree.files.get(path).ok_or_else(|| Problem::no_entry(path))?;
    let info = reader.info();
    let mut tensors: Vec<Tensor<'_>> = reader.tensors().collect();
    // Whoever looks for tensors does not look for pictures.
    let looks = ["filter", "sort", "page"].iter().any(|name| call.query.get(name).is_some());
    let pictures = (!looks).then(|| plots([by_kind(&tensors), by_layer(&tensors)]));
    let all = tensors.len();
    let wanted = call.query.get("filter").unwrap_or_default().to_lowercase();
    let words: Vec<&str> = wanted.split_whitespace().collect();
    tensors.retain(|tensor| has_words(tensor, &words));
    sort(call, &mut tensors);
    let page = Page::of(call, tensors.len());
    let columns = [
        text("tensor").sorted("name"),
        text("dtype").sorted("dtype"),
        text("shape").sorted("shape"),
        number("as it is").sorted("size"),
        number("stored").sorted("stored"),
        number("bits each").sorted("bits"),
        text("SHA-256"),
    ];
    let rows = tensors[page.range()].iter().map(|tensor| row(place, path, tensor));
    let content = html! {
        (heads::of_repo(place))
        (heads::of_file(place, path, file))
        (boxes(&[
            ("tensors", count(all as u64)),
            ("as it is", size(info.original_len)),
            ("packed", size(info.packed_len)),
            ("of the size", percent(info.packed_len, info.original_len)),
        ]))
        @if let Some(pictures) = pictures { (pictures) }
        h2 #tensors { "Tensors" }
        (search(call, "filter", "Tensors", "words of name, dtype or kind"))
        @if tensors.is_empty() {
            p { "No tensor has that in its name." }
        } @else {
            (table(call, "Tensors", &columns, rows))
            (page.links(call, "tensors"))
        }
        (metadata(reader))
    };
    Ok(shell::page(call, &format!("{path} · {}", place.id.shown()), &content))
}

fn row(place: &Place, path: &str, tensor: &Tensor<'_>) -> Vec<Markup> {
    let digest = tensor.digest().to_string();
    vec![
        html! {
            a href={ (place.file("blob", path)) "?tensor=" (encode(tensor.name())) } {
                bdi { (shown(tensor.name())) }
            }
        },
        html! { (shown(tensor.dtype_name())) },
        html! { (shape(tensor.shape())) },
        size(tensor.raw_len()),
        match is_shared(tensor) {
            true => html! { "shared" },
            false => size(tensor.stored_len()),
        },
        match is_shared(tensor) {
            true => html! { "–" },
            false => bits(tensor),
        },
        html! { a href={ (address(&place.id)) "/tensor/" (digest) } { (short(&digest)) } },
    ]
}

/// Whether a tensor has no bytes of its own: an earlier one of the file has the same content.
pub(super) fn is_shared(tensor: &Tensor<'_>) -> bool {
    tensor.stored_len() == 0
}

pub(super) fn elements(tensor: &Tensor<'_>) -> u64 {
    tensor.shape().iter().fold(1, |count: u64, dim| count.saturating_mul(*dim))
}

fn bits_of(tensor: &Tensor<'_>) -> f64 {
    tensor.stored_len() as f64 * 8.0 / elements(tensor).max(1) as f64
}

/// Writes the stored bits of an element.
pub(super) fn bits(tensor: &Tensor<'_>) -> Markup {
    html! { data value=(bits_of(tensor)) { (figures::bits(bits_of(tensor))) } }
}

fn has_words(tensor: &Tensor<'_>, words: &[&str]) -> bool {
    if words.is_empty() {
        return true;
    }
    let kind = Kind::of(tensor.name(), tensor.shape()).name();
    let about = format!("{} {} {kind}", tensor.name(), tensor.dtype_name()).to_lowercase();
    words.iter().all(|word| about.contains(word))
}

fn sort(call: &Call, tensors: &mut [Tensor<'_>]) {
    let order = Order::of(call);
    match order.by {
        "name" => tensors.sort_by(|a, b| a.name().cmp(b.name())),
        "dtype" => tensors.sort_by(|a, b| a.dtype_name().cmp(b.dtype_name())),
        "shape" => tensors.sort_by_key(elements),
        "size" => tensors.sort_by_key(Tensor::raw_len),
        "stored" => tensors.sort_by_key(Tensor::stored_len),
        "bits" => tensors.sort_by(|a, b| bits_of(a).total_cmp(&bits_of(b))),
        // As they lie in the file.
        _ => {}
    }
    if order.down {
        tensors.reverse();
    }
}

/// Draws which kinds of tensors the stored bytes are of.
fn by_kind(tensors: &[Tensor<'_>]) -> Option<Plot> {
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    for tensor in tensors {
        *kinds.entry(Kind::of(tensor.name(), tensor.shape())).or_default() += tensor.stored_len();
    }
    let all: u64 = kinds.values().sum();
    let bar = |(kind, stored): (&Kind, &u64)| {
        let percent = 100.0 * *stored as f64 / all.max(1) as f64;
        (kind.name().to_owned(), percent, figures::bytes(*stored as f64))
    };
    let bars: Vec<_> = kinds.iter().map(bar).collect();
    Plot::bars("Stored size of each kind of tensor, in percent of all", &bars)
}

/// Draws how many bits an element takes in each layer.
fn by_layer(tensors: &[Tensor<'_>]) -> Option<Plot> {
    let mut layers: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| !is_shared(tensor)) {
        let Some(layer) = layer(tensor.name()) else { continue };
        let (stored, count) = layers.entry(layer).or_default();
        *stored = stored.saturating_add(tensor.stored_len());
        *count = count.saturating_add(elements(tensor));
    }
    let point = |(layer, (stored, count)): (&u32, &(u64, u64))| {
        (f64::from(*layer), *stored as f64 * 8.0 / (*count).max(1) as f64)
    };
    let points: Vec<_> = layers.iter().map(point).collect();
    let whole = |at: f64| if at.fract() == 0.0 { format!("{at:.0}") } else { String::new() };
    let caption = "Stored bits of an element, layer by layer".to_owned();
    Plot::lines(caption, &[("bits", points)], [&whole, &|bits| format!("{bits:.0}")])
}

/// Returns the number of the layer that a tensor is of: the first number in its name.
fn layer(name: &str) -> Option<u32> {
    const MOST: u32 = 10_000;
    let number = name.split(['.', '/', '_', ':']).find_map(|part| part.parse().ok());
    number.filter(|number| *number < MOST)
}

fn metadata(reader: &Reader) -> Markup {
    let all = reader.header().metadata();
    let more = all.len().saturating_sub(METADATA);
    html! {
        @if all.len() > 0 {
            section {
                h2 { "Metadata" }
                dl.facts {
                    @for (key, value) in all.take(METADATA) {
                        dt { bdi { (shown(&cut(key))) } }
                        dd { bdi { (shown(&cut(value))) } }
                    }
                }
                @if more > 0 { p.note { "And " (count(more as u64)) " more." } }
            }
        }
    }
}

/// Returns the beginning of a long text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Returns the commands that read a tensor.
pub(super) fn reading(call: &Call, place: &Place, path: &str, name: &str) -> Markup {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let at = &place.found.commit;
    let address = format!("hf://{}@{at}/{path}", place.id.shown());
    let lines = [
        format!("export HF_ENDPOINT={}", call.base()),
        format!("at1w get {} {} -o tensor.npy", quoted(&address), quoted(name)),
    ];
    commands("Commands that read it", &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_the_first_number_of_a_name() {
        assert_eq!(layer("model.layers.11.mlp.experts.3.up"), Some(11));
        assert_eq!(layer("blocks_7_attn"), Some(7));
        assert_eq!(layer("lm_head.weight"), None);
        assert_eq!(layer("x.99999999999.y"), None);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(cut("ü"), "ü");
        assert_eq!(cut(&"ü".repeat(600)).chars().count(), VALUE + 1);
    }
}
