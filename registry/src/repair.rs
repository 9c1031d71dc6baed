//! Repairing: what is missing or damaged is taken from a replica, by digest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use at1w_container::{Progress, ReadAt};

use crate::error::{Error, Result};
use crate::index::{self, Stored, TensorKey};
use crate::keys;
use crate::lease::Lease;
use crate::mark::mark;
use crate::packs::Packs;
use crate::prove::{Proof, pack_lens};
use crate::recipe::{Location, Recipe};
use crate::relocate::relocate;
use crate::scrub::ScrubOptions;
use crate::store::Store;
use crate::stored_file::StoredFile;

/// The outcome of a repair.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Repaired {
    /// The number of objects that were missing and were copied.
    pub copied: u64,
    /// The number of damaged places that have good copies now.
    pub repaired: u64,
    /// What is damaged still: the replica does not have it.
    pub left: Vec<String>,
}

impl Store {
    /// Takes what is missing or damaged from a replica. Everything is proven before it is used.
    ///
    /// # Errors
    /// Those of both stores.
    pub fn repair(&self, replica: &Store, progress: &dyn Progress) -> Result<Repaired> {
        self.require()?;
        replica.require()?;
        let mut done = Repaired { copied: self.copy_missing(replica)?, ..Repaired::default() };
        let scrubbed = self.scrub(&ScrubOptions::new().progress(progress))?;
        let damaged: HashSet<_> = scrubbed
            .damaged
            .iter()
            .map(|damage| (damage.namespace.clone(), damage.file.clone()))
            .collect();
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        for (namespace, marked) in mark(self, lease.began, Duration::ZERO)? {
            let lens = pack_lens(self, &namespace)?;
            let stored = replica.runs.load(&replica.objects, &namespace)?;
            let mut known: HashMap<TensorKey, Vec<&Stored>> = HashMap::new();
            for stored in stored.iter().flat_map(|run| run.iter()) {
                known.entry(stored.key).or_default().push(stored);
            }
            let mut moves = HashMap::new();
            let mut new = Vec::new();
            let mut packs = Packs::new(&self.objects, &namespace);
            for (_, recipe) in marked.recipes.values() {
                let key = (namespace.clone(), recipe.sha256.to_string());
                if !damaged.contains(&key) {
                    continue;
                }
                let mut proof = Proof::default();
                proof.add(self, &namespace, recipe, &lens, &|_| true, progress)?;
                for (segment, location) in recipe.locations().enumerate() {
                    if !proof.bad.contains_key(&location) || moves.contains_key(&location) {
                        continue;
                    }
                    let place = Place { namespace: &namespace, recipe, segment };
                    let good = self.good_copy(replica, &place, &known, progress)?;
                    let Some((bytes, stored)) = good else {
                        done.left.push(format!(
                            "{} of {}",
                            keys::pack(&namespace, &location.pack),
                            recipe.sha256
                        ));
                        continue;
                    };
                    let mut spool = packs.begin();
                    std::io::Write::write_all(&mut spool, &bytes)
                        .map_err(|cause| Error::Io { path: location.pack.clone(), cause })?;
                    let (pack, offset) = packs.end(spool)?;
                    let to = Location { pack, offset, len: bytes.len() as u64 };
                    let model_len = stored.as_ref().map_or(0, |stored| stored.model_len);
                    new.extend(stored.map(|stored| Stored { location: to.clone(), ..stored }));
                    moves.insert(location, (to, model_len));
                }
            }
            packs.finish()?;
            relocate(self, &namespace, &moves)?;
            index::write(&self.objects, &namespace, new)?;
            done.repaired += moves.len() as u64;
        }
        Ok(done)
    }

    /// Copies objects that logs name and that are not there, under the same names.
    fn copy_missing(&self, replica: &Store) -> Result<u64> {
        let mut copied = 0;
        for namespace in replica.namespaces()? {
            for folder in [keys::trees(&namespace), keys::files(&namespace)] {
                let there = self.objects.list(&folder)?;
                let there: HashSet<_> = there
                    .iter()
                    .filter_map(|meta| meta.key.rsplit_once('/').map(|(folder, _)| folder))
                    .collect();
                for meta in replica.objects.list(&folder)? {
                    let missing =
                        meta.key.rsplit_once('/').is_some_and(|(f, _)| !there.contains(f));
                    if let (true, Some(bytes)) = (missing, replica.objects.get(&meta.key)?) {
                        self.objects.put(&meta.key, bytes)?;
                        copied += 1;
                    }
                }
            }
        }
        Ok(copied)
    }

    /// Finds stored bytes in a replica that decode to what a segment should hold.
    fn good_copy(
        &self,
        replica: &Store,
        place: &Place<'_>,
        known: &HashMap<TensorKey, Vec<&Stored>>,
        progress: &dyn Progress,
    ) -> Result<Option<(Vec<u8>, Option<Stored>)>> {
        let Place { namespace, recipe, segment } = *place;
        let Some(packed) = &recipe.packed else {
            let found = Recipe::newest(&replica.objects, namespace, recipe.sha256)?;
            let Some((_, found)) = found else { return Ok(None) };
            let source = StoredFile::open(&replica.objects, namespace, &found);
            let bytes = source.read_at(0..recipe.size).map(std::borrow::Cow::into_owned);
            let good = bytes.ok().filter(|b| at1w_container::Digest::of(b) == recipe.sha256);
            return Ok(good.map(|bytes| (bytes, None)));
        };
        let reader = self.reader(namespace, recipe)?;
        let tensor = packed.tensors[segment] as usize;
        let info = &reader.header().tensors()[tensor];
        let digest = reader.tensor(info.name())?.digest();
        let lens = pack_lens(replica, namespace)?;
        for stored in known.get(&TensorKey::of(info, digest)).into_iter().flatten() {
            // The file with this tensor from the replica is what is proven.
            let Some(&len) = lens.get(&stored.location.pack) else { continue };
            let change = (segment, stored.location.clone(), stored.model_len);
            let mut moved = recipe.moved(&[change])?;
            for pack in moved.packs.iter_mut().filter(|pack| pack.id == stored.location.pack) {
                pack.len = len;
            }
            let Ok(trial) = replica.reader(namespace, &moved) else { continue };
            let Some(tensor) = trial.tensors().nth(tensor) else { continue };
            if tensor.verify(progress).is_err() {
                continue;
            }
            let Location { pack, offset, len: wanted } = &stored.location;
            let key = keys::pack(namespace, pack);
            let file = at1w_remote::RemoteFile::known(replica.objects.clone(), &key, len);
            let bytes = file.read_at(*offset..offset + wanted);
            let bytes = bytes.map_err(|cause| Error::Io { path: key, cause })?;
            return Ok(Some((bytes.into_owned(), Some((*stored).clone()))));
        }
        Ok(None)
    }
}

/// A segment of a recipe.
#[derive(Clone, Copy)]
struct Place<'a> {
    namespace: &'a str,
    recipe: &'a Recipe,
    segment: usize,
}
