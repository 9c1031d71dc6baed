//! One tensor: its exponents and their entropy, from a sample that was verified; and the revisions
//! that hold it.

use std::collections::HashMap;

use at1w_container::{Digest, Dtype, Index, Slice, Tensor, TensorInfo};
use at1w_measure::page::{Plot, figures};
use at1w_measure::{Kind, entropy, exponents};
use at1w_registry::{Error as StoreError, Original, Revision};
use axum::http::StatusCode;
use maud::{Markup, html};

use super::parts::{Page, boxes, count, plots, shape, short, shown, size, table, text, time};
use super::place::{Place, address};
use super::{heads, model, shell};
use crate::address::{RepoId, encode};
use crate::call::Call;
use crate::error::{Answer, Problem};
use crate::files::Opened;
use crate::listing::title;

/// The largest sample of a tensor, in bytes, and the number of places that it is taken from.
const SAMPLE: u64 = 3 << 20;
const PLACES: u64 = 3;

/// The number of revisions, and of different files, that are looked through for a tensor.
const REVISIONS: usize = 1000;
const FILES: usize = 512;

/// The facts about a tensor that a page shows.
struct Facts {
    dtype: String,
    shape: Vec<u64>,
    raw_len: u64,
    digest: Digest,
    chunks: u64,
    stored: Markup,
    bits: Markup,
    kind: &'static str,
    sampled: u64,
    histogram: Option<Histogram>,
}

/// How often each value of a part of the elements occurs in the sample.
struct Histogram {
    counts: Vec<u64>,
    of: &'static str,
    bits: u32,
}

pub(super) fn page(
    call: &Call,
    place: &Place,
    path: &str,
    name: &str,
    opened: &mut Opened,
) -> Answer {
    let facts = opened.read(|original, _| {
        let Original::Packed(reader) = original else { return Ok(None) };
        let Ok(tensor) = reader.tensor(name) else { return Ok(None) };
        let info = reader.header().tensor(name).map_err(StoreError::from)?;
        facts(&tensor, info).map(Some)
    })?;
    let file = place.tree.files.get(path).ok_or_else(|| Problem::no_entry(path))?;
    let facts = facts.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("{name}: there is no such tensor in {path}"))
    })?;
    let entropy_of = |histogram: &Histogram| {
        let entropy = entropy(&histogram.counts);
        html! { data value=(entropy) { (figures::bits(entropy)) } " of " (histogram.bits) " bits" }
    };
    let mut boxed = vec![
        ("as it is", size(facts.raw_len)),
        ("stored", facts.stored),
        ("bits of an element", facts.bits),
    ];
    if let Some(histogram) = &facts.histogram {
        boxed.push((histogram.of, entropy_of(histogram)));
    }
    let digest = facts.digest.to_string();
    let content = html! {
        (heads::of_repo(place))
        (heads::of_file(place, path, file))
        h3 { bdi { (shown(name)) } }
        (boxes(&boxed))
        dl.facts {
            dt { "Dtype" } dd { (shown(&facts.dtype)) }
            dt { "Shape" } dd { (shape(&facts.shape)) }
            dt { "Kind" } dd { (facts.kind) }
            dt { "Chunks" } dd { (count(facts.chunks)) }
            dt { "SHA-256" } dd { code { (digest) } }
            dt { "Revisions" }
            dd { a href={ (address(&place.id)) "/tensor/" (digest) } { "Those that hold it" } }
        }
        @match &facts.histogram {
            Some(histogram) => {
                (plots([drawn(histogram)]))
                p.note {
                    "From a sample of " (size(facts.sampled)) ", read from where it is stored; "
                    "every chunk of it was verified."
                }
            }
            None => p.note { "There is nothing in it to draw." },
        }
        h3 { "Read it" }
        (model::reading(call, place, path, name))
    };
    Ok(shell::page(call, &format!("{name} · {}", place.id.shown()), &content))
}

fn facts(tensor: &Tensor<'_>, info: &TensorInfo) -> Result<Facts, StoreError> {
    let mut sampled = 0;
    let mut histogram: Option<Histogram> = None;
    // Elements that share a byte cannot be cut anywhere.
    let whole = tensor.dtype().is_some_and(|dtype| dtype.bits() % 8 == 0);
    let slices = match whole || tensor.raw_len() <= SAMPLE {
        true => slices(tensor.shape(), tensor.raw_len()),
        false => Vec::new(),
    };
    for slice in slices {
        let (_, raw) = tensor.read_slice(&slice)?;
        sampled += raw.len() as u64;
        let Some(part) = of_sample(info, &raw) else { continue };
        match &mut histogram {
            Some(all) => {
                all.counts.iter_mut().zip(&part.counts).for_each(|(sum, count)| *sum += count);
            }
            none => *none = Some(part),
        }
    }
    let shared = model::is_shared(tensor);
    Ok(Facts {
        dtype: tensor.dtype_name().to_owned(),
        shape: tensor.shape().to_vec(),
        raw_len: tensor.raw_len(),
        digest: tensor.digest(),
        chunks: tensor.chunk_count(),
        stored: if shared {
            html! { "shared" }
        } else {
            size(tensor.stored_len())
        },
        bits: if shared {
            html! { "–" }
        } else {
            model::bits(tensor)
        },
        kind: Kind::of(tensor.name(), tensor.shape()).name(),
        sampled,
        histogram: histogram.filter(|histogram| histogram.counts.iter().any(|&count| count > 0)),
    })
}

fn of_sample(info: &TensorInfo, raw: &[u8]) -> Option<Histogram> {
    let dtype = info.dtype()?;
    if let Some(counts) = exponents(info, raw) {
        let bits = counts.len().ilog2();
        return Some(Histogram { counts, of: "entropy of exponents", bits });
    }
    if dtype.bits() > 8 || dtype == Dtype::Bool {
        return None;
    }
    let mut counts = vec![0; 256];
    raw.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    Some(Histogram { counts, of: "entropy of bytes", bits: 8 })
}

/// Returns slices of a tensor that are a sample of it: whole if it is short, else from its
/// beginning, its middle and its end.
fn slices(shape: &[u64], raw_len: u64) -> Vec<Slice> {
    if raw_len <= SAMPLE {
        return vec![Slice(Vec::new())];
    }
    let most = SAMPLE / PLACES;
    let part = |place: u64| {
        let (mut indices, mut len) = (Vec::new(), raw_len);
        for &dim in shape {
            if len <= most {
                break;
            }
            let row = len / dim.max(1);
            let taken = (most / row.max(1)).clamp(1, dim.max(1));
            let from = (dim - taken) * place / (PLACES - 1);
            indices.push(Index::Range(Some(from as i64), Some((from + taken) as i64)));
            len = row * taken;
        }
        Slice(indices)
    };
    (0..PLACES).map(part).collect()
}

fn drawn(histogram: &Histogram) -> Option<Plot> {
    let what = if histogram.of.ends_with("exponents") { "Exponents" } else { "Bytes" };
    let entropy = entropy(&histogram.counts);
    let caption = format!(
        "{what}: how many of a hundred elements of the sample have each. Their entropy is \
         {entropy:.2} of {} bits",
        histogram.bits
    );
    Plot::histogram(caption, &histogram.counts)
}

/// Where a tensor is in a file: the names that it has there.
type Names = Vec<String>;

/// Returns the page of the revisions that hold a tensor.
pub(super) fn holders(call: &Call, id: RepoId, sha256: &str) -> Answer {
    let wanted: Digest = sha256.parse().map_err(|_| Problem::bad("No SHA-256 of a tensor"))?;
    let entry = call.who.read(&call.hub, &id)?;
    let all = Revision { repo: id.repo.clone(), revision: None };
    let (_, commits) = call.hub.store.history(&all)?;
    let (mut known, mut rows, mut whole) = (HashMap::<Digest, Names>::new(), Vec::new(), true);
    let upstream: HashMap<_, _> = crate::revision::upstream_names(&entry)
        .map(|(name, at)| (at.commit.as_str(), name))
        .collect();
    for commit in commits.iter().take(REVISIONS) {
        let tree = call.hub.tree_of(&id.repo.namespace, commit)?;
        for (path, file) in tree.files.iter().filter(|(_, file)| file.root.is_some()) {
            if !known.contains_key(&file.sha256) {
                if known.len() == FILES {
                    whole = false;
                    continue;
                }
                let original = call.hub.original(&id.repo.namespace, file)?;
                let Original::Packed(reader) = &*original else { continue };
                let own = reader.tensors().filter(|tensor| tensor.digest() == wanted);
                known.insert(file.sha256, own.map(|tensor| tensor.name().to_owned()).collect());
            }
            for name in &known[&file.sha256] {
                rows.push((commit, path.clone(), name.clone()));
            }
        }
    }
    whole &= commits.len() <= REVISIONS;
    let place = Place::find(call, id, None)?;
    let own = address(&place.id);
    let page = Page::of(call, rows.len());
    let row = |(commit, path, name): &(&at1w_registry::Commit, String, String)| -> Vec<Markup> {
        let known = upstream.get(commit.id.as_str()).copied().unwrap_or(&commit.id);
        let parts: Vec<String> = path.split('/').map(encode).collect();
        let tensor = format!("{own}/blob/{known}/{}?tensor={}", parts.join("/"), encode(name));
        vec![
            html! { a href={ (own) "/tree/" (known) } { (short(known)) } },
            html! { bdi { (shown(title(&commit.message).0)) } },
            time(&commit.time),
            html! { bdi { (shown(path)) } },
            html! { a href=(tensor) { bdi { (shown(name)) } } },
        ]
    };
    let columns = [text("commit"), text("message"), text("time"), text("file"), text("tensor")];
    let content = html! {
        (heads::of_repo(&place))
        h2 { "Revisions that hold a tensor" }
        dl.facts { dt { "SHA-256" } dd { code { (wanted) } } }
        @if rows.is_empty() {
            p { "No revision of this repository holds it." }
        } @else {
            (table(call, "Revisions", &columns, rows[page.range()].iter().map(row)))
            (page.links(call, "places"))
        }
        @if !whole {
            p.note { "Not all was looked through: the last " (count(REVISIONS as u64))
                " revisions, and " (count(FILES as u64)) " files." }
        }
    };
    Ok(shell::page(call, &format!("A tensor · {}", place.id.shown()), &content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_short_and_within_the_tensor() {
        for shape in [&[1_000_000, 64][..], &[2, 8_000_000], &[1, 1, 50_000_000], &[90_000_000]] {
            let raw_len = 4 * shape.iter().product::<u64>();
            let slices = slices(shape, raw_len);
            assert_eq!(slices.len() as u64, PLACES);
            for slice in slices {
                let mut left: Vec<u64> = shape.to_vec();
                for (index, dim) in slice.0.iter().zip(&mut left) {
                    let Index::Range(Some(from), Some(to)) = index else { panic!() };
                    assert!(*from >= 0 && from < to && *to as u64 <= *dim);
                    *dim = (to - from) as u64;
                }
                let len = 4 * left.iter().product::<u64>();
                assert!(len > 0 && len <= SAMPLE, "{len}");
            }
        }
        assert_eq!(slices(&[], 4).len(), 1);
        assert_eq!(slices(&[0, 4], 0).len(), 1);
    }
}
