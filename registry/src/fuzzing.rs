//! What a fuzzer reaches of the parsers of objects: whoever can write to a bucket chooses their
//! bytes.

use at1w_container::Digest;
use miniz_oxide::deflate::compress_to_vec;

use crate::recipe::{Form, Moved, Moves, Recipe};
use crate::store::Store;
use crate::stored_file::StoredFile;
use crate::sum::with_sum;
use crate::tree::Tree;
use crate::view::Tombstone;
use crate::{index, log, record};

/// Parses the content of an object as each kind of it, with right SHA-256s, and uses what comes of
/// it.
///
/// # Panics
/// When a recipe does not survive being written and parsed.
pub fn parse_object(store: &Store, content: &[u8]) {
    let end = content.iter().position(|&byte| byte == b'\n').unwrap_or(content.len());
    let _ = Tree::parse(content, Digest::of(&content[..end]));
    let _ = Tombstone::parse("tombstones", content);
    let _ = record::parse(content);
    if content.ends_with(b"}") {
        let _ = log::parse("lab/model", 1, &with_sum(content));
    }
    let _ = index::parse(&sealed(content));
    // A recipe is deflated, which no fuzzer undoes.
    let mut stored = (content.len() as u64).to_le_bytes().to_vec();
    stored.extend(compress_to_vec(content, 1));
    if let Ok(recipe) = Recipe::parse(&sealed(&stored)) {
        use_recipe(store, &recipe);
    }
}

/// Returns the content with its SHA-256 at the end.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &Digest::of(content).0].concat()
}

fn use_recipe(store: &Store, recipe: &Recipe) {
    assert_eq!(Recipe::parse(&recipe.to_bytes()).as_ref(), Ok(recipe));
    let locations: Vec<_> = recipe.locations().collect();
    let grounds: Vec<_> = (0..locations.len()).map(|segment| recipe.ground(segment)).collect();
    assert_eq!(grounds.iter().flatten().count(), recipe.grounds().count());
    let _ = recipe.model_lens();
    // Every tensor stands alone somewhere else by now.
    let digests = recipe.digests().unwrap_or_default();
    let moves: Moves = locations
        .iter()
        .zip(digests)
        .map(|(location, digest)| {
            let mut to = location.clone();
            to.len = to.len.saturating_add(1);
            let form = Form::Tensor { digest, model_len: 0, base: None };
            (location.clone(), Moved { location: to, form })
        })
        .collect();
    let _ = recipe.moved(&moves);
    let Ok(reader) = store.reader("lab", recipe) else { return };
    if recipe.has_bases() {
        let _ = StoredFile::open(store.objects(), "lab", recipe).alone(recipe, reader);
    }
}
