//! Having files lie elsewhere: new recipes for those whose stored bytes were damaged, or were
//! copied to a better place.

use std::collections::HashMap;
use std::time::SystemTime;

use at1w_container::Digest;
use at1w_remote::Meta;

use crate::error::Result;
use crate::index::{self, Stored};
use crate::keys;
use crate::meter::past;
use crate::recipe::{Moves, Recipe};
use crate::store::Store;

/// Writes new recipes for all files that have bytes in one of `moves`; returns the number of
/// recipes. Places that are damaged keep their marks: the index may name them still.
pub(crate) fn relocate(
    store: &Store,
    namespace: &str,
    moves: &Moves,
    now: SystemTime,
) -> Result<u64> {
    if moves.is_empty() {
        return Ok(0);
    }
    let mut written = 0;
    for (name, recipe) in newest_recipes(store, namespace)?.into_values() {
        let Some(mut moved) = recipe.moved(moves)? else { continue };
        for pack in moved.packs.iter_mut().filter(|pack| pack.len == 0) {
            let meta = store.objects.head(&keys::pack(namespace, &pack.id))?;
            pack.len = meta.map_or(0, |meta| meta.len);
        }
        let folder = keys::recipes(namespace, recipe.sha256);
        let key = format!("{folder}/{}", keys::next_at(now, Some(&name)));
        store.objects.put(&key, moved.to_bytes())?;
        // Trees that name the old one find the newer one.
        past::delete(&store.objects, namespace, &[format!("{folder}/{name}")])?;
        written += 1;
    }
    // Differences are found with their bases where these are by now.
    let mut found = Vec::new();
    for stored in store.runs.load(&store.objects, namespace)?.iter().flat_map(|run| run.iter()) {
        if let Some(ground) = stored.ground.as_ref().and_then(|ground| ground.moved(moves)) {
            found.push(Stored { ground: Some(ground), ..stored.clone() });
        }
    }
    index::write(&store.objects, namespace, found)?;
    Ok(written)
}

/// Returns the newest recipe of each file among listed objects.
pub(crate) fn newest(listed: &[Meta]) -> HashMap<Digest, String> {
    let mut newest = HashMap::new();
    for meta in listed {
        let sha256 = meta.key.rsplit('/').nth(1).unwrap_or_default();
        if let Ok(sha256) = sha256.parse() {
            // They are sorted: the last one is the newest.
            newest.insert(sha256, meta.key.clone());
        }
    }
    newest
}

/// Reads the newest recipes of all files of a namespace, each with its name. Damaged ones are left
/// out.
pub(crate) fn newest_recipes(
    store: &Store,
    namespace: &str,
) -> Result<HashMap<Digest, (String, Recipe)>> {
    let newest: Vec<_> =
        newest(&store.objects.list(&keys::files(namespace))?).into_iter().collect();
    let keys: Vec<_> = newest.iter().map(|(_, key)| key.clone()).collect();
    let mut recipes = HashMap::new();
    for ((sha256, key), bytes) in newest.into_iter().zip(store.objects.get_all(&keys)?) {
        let name = keys::last_part(&key).to_owned();
        match bytes.map(|bytes| Recipe::parse_for(&bytes, sha256)) {
            Some(Ok(recipe)) => _ = recipes.insert(sha256, (name, recipe)),
            Some(Err(_)) => {}
            // It was superseded meanwhile.
            None => {
                let newest = Recipe::newest(&store.objects, namespace, sha256)?;
                recipes.extend(newest.map(|newest| (sha256, newest)));
            }
        }
    }
    Ok(recipes)
}
