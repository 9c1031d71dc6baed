//! Having files lie elsewhere: new recipes for those whose stored bytes were damaged, or were
//! copied to a better place.

use std::collections::{HashMap, HashSet};
use std::mem;

use at1w_container::Digest;
use at1w_remote::Meta;

use crate::error::Result;
use crate::index::{self, Stored};
use crate::keys;
use crate::lease::Lease;
use crate::meter::past;
use crate::recipe::{Moves, Recipe};
use crate::store::Store;

/// The newest recipes of files, each with its key.
pub(crate) type Newest = HashMap<Digest, (String, Recipe)>;

/// Writes new recipes for all files that have bytes in one of `moves`. Those that are `known` are
/// not read again. Places that are damaged keep their marks: the index may name them still.
pub(crate) fn relocate(
    store: &Store,
    namespace: &str,
    moves: &Moves,
    lease: &Lease,
    known: &mut Newest,
) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let (mut written, mut superseded) = (Vec::new(), Vec::new());
    read_newest(store, namespace, known)?;
    for (key, recipe) in known.values_mut() {
        let Some(mut moved) = recipe.moved(moves)? else { continue };
        for pack in moved.packs.iter_mut().filter(|pack| pack.len == 0) {
            let meta = store.objects.head(&keys::pack(namespace, &pack.id))?;
            pack.len = meta.map_or(0, |meta| meta.len);
        }
        // It takes the place of a good one.
        if moved.packed.is_some() {
            store.reader(namespace, &moved)?;
        }
        let folder = keys::recipes(namespace, recipe.sha256);
        let new = format!("{folder}/{}", keys::next_at(lease.now(), Some(keys::last_part(key))));
        store.objects.put(&new, moved.to_bytes())?;
        written.push(new.clone());
        superseded.push(mem::replace(key, new));
        *recipe = moved;
    }
    // If it holds still, all collectors see the new ones.
    if let Err(error) = lease.check(namespace) {
        let _ = forget_broken(store, namespace, &written);
        return Err(error);
    }
    // Trees that name the old ones find the newer ones.
    past::delete(&store.objects, namespace, &superseded)?;
    // Differences are found with their bases where these are by now.
    let mut found = Vec::new();
    for stored in store.runs.load(&store.objects, namespace)?.iter().flat_map(|run| run.iter()) {
        if let Some(ground) = stored.ground.as_ref().and_then(|ground| ground.moved(moves)) {
            found.push(Stored { ground: Some(ground), ..stored.clone() });
        }
    }
    index::write(&store.objects, namespace, found)
}

/// Deletes those of the recipes of a writer whose lease has ended that name packs which are gone.
/// The others stay: the collector may have marked them by now, and deleted those before them.
pub(crate) fn forget_broken(store: &Store, namespace: &str, written: &[String]) -> Result<()> {
    let packs = store.objects.list(&keys::packs(namespace))?;
    let packs: HashSet<_> = packs.iter().map(|meta| keys::last_part(&meta.key)).collect();
    let mut broken = Vec::new();
    for (key, bytes) in written.iter().zip(store.objects.get_all(written)?) {
        let recipe = bytes.map(|bytes| Recipe::parse(&bytes));
        if let Some(Ok(recipe)) = recipe
            && recipe.packs.iter().any(|pack| !packs.contains(&*pack.id))
        {
            broken.push(key.clone());
        }
    }
    Ok(store.objects.delete(&broken)?)
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

/// Reads the newest recipes of all files of a namespace, but for those that are `known`. Damaged
/// ones are left out.
pub(crate) fn read_newest(store: &Store, namespace: &str, known: &mut Newest) -> Result<()> {
    let mut newest = newest(&store.objects.list(&keys::files(namespace))?);
    known.retain(|sha256, (key, _)| newest.get(sha256) == Some(key));
    newest.retain(|sha256, _| !known.contains_key(sha256));
    let (files, keys): (Vec<_>, Vec<_>) = newest.into_iter().unzip();
    let read = store.objects.get_all(&keys)?;
    for ((sha256, key), bytes) in files.into_iter().zip(keys).zip(read) {
        match bytes.map(|bytes| Recipe::parse_for(&bytes, sha256)) {
            Some(Ok(recipe)) => _ = known.insert(sha256, (key, recipe)),
            Some(Err(_)) => {}
            // It was superseded meanwhile.
            None => {
                let newest = Recipe::newest(&store.objects, namespace, sha256)?;
                let key = |name| format!("{}/{name}", keys::recipes(namespace, sha256));
                known.extend(newest.map(|(name, recipe)| (sha256, (key(name), recipe))));
            }
        }
    }
    Ok(())
}
