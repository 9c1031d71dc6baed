//! Repairing: what is missing or damaged is taken from a replica, by digest.

use std::collections::HashSet;
use std::time::Duration;

use at1w_container::{Digest, Progress};

use crate::error::Result;
use crate::index::{self, Stored};
use crate::keys;
use crate::lease::Lease;
use crate::log::read_each;
use crate::mark::{Marked, survey};
use crate::packs::Packs;
use crate::prove::Proof;
use crate::recipe::{Form, Moved, Moves, Recipe};
use crate::relocate::{Newest, relocate};
use crate::replica::Replica;
use crate::scrub::ScrubOptions;
use crate::store::Store;

/// The outcome of a repair.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Repaired {
    /// The number of objects that were missing or damaged as a whole, and were copied.
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
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let mut done = Repaired::default();
        // A log names trees, and a tree names recipes: more may be broken than is seen at first.
        loop {
            let mut mended = 0;
            for (namespace, marked) in survey(self, None, lease.began, Duration::ZERO, read_each)? {
                for broken in &marked.broken {
                    mended += self.mend(&namespace, replica, &broken.part)?;
                }
            }
            done.copied += mended;
            if mended == 0 {
                break;
            }
        }
        done.copied += self.mend_meter(replica, &mut done.left)?;
        let left = done.left.len();
        // Once a base is good again, what is stored as differences to it can be proven as well.
        loop {
            let repaired = done.repaired;
            done.left.truncate(left);
            let unproven = self.repair_once(replica, &lease, &mut done, progress)?;
            if unproven == 0 || done.repaired == repaired {
                return Ok(done);
            }
        }
    }

    /// Repairs the files in which a scrub finds damage; returns the number of places that it could
    /// not prove.
    fn repair_once(
        &self,
        replica: &Store,
        lease: &Lease,
        done: &mut Repaired,
        progress: &dyn Progress,
    ) -> Result<u64> {
        // What is damaged gets its mark, so that nobody relies on it while it is.
        let scrubbed = self.scrub(&ScrubOptions::new().progress(progress))?;
        let unproven = scrubbed.unproven;
        let damaged: HashSet<_> = scrubbed
            .damaged
            .into_iter()
            .filter_map(|damage| Some((damage.namespace, damage.file?)))
            .collect();
        for (namespace, marked) in survey(self, None, lease.began, Duration::ZERO, read_each)? {
            done.left.extend(marked.broken.iter().map(|broken| broken.error.to_string()));
            let damaged: HashSet<_> = marked
                .recipes
                .keys()
                .filter(|file| damaged.contains(&(namespace.clone(), file.to_string())))
                .copied()
                .collect();
            if !damaged.is_empty() {
                let replica = Replica::open(replica, &namespace)?;
                self.repair_files(&replica, lease, marked, &damaged, done, progress)?;
            }
        }
        Ok(unproven)
    }

    /// Repairs the recipes of files of a namespace, and the places that they name.
    fn repair_files(
        &self,
        replica: &Replica<'_>,
        lease: &Lease,
        mut marked: Marked,
        damaged: &HashSet<Digest>,
        done: &mut Repaired,
        progress: &dyn Progress,
    ) -> Result<()> {
        let namespace = replica.namespace;
        let prove = |marked: &Marked| {
            let wanted = |file: &Digest| damaged.contains(file);
            Proof::of(self, namespace, marked, &wanted, &|_| true, progress, |_| Ok(()))
        };
        let mut proof = prove(&marked)?;
        let wrong = proof.bad.iter().filter(|bad| bad.damaged_place(&proof).is_none());
        let wrong: HashSet<_> = wrong.map(|bad| bad.file).collect();
        for &file in &wrong {
            if self.mend_recipe(namespace, replica.store, file)? == 0 {
                continue;
            }
            done.copied += 1;
            // Trees name it: only once it is gone do they find the good one.
            self.objects.delete(std::slice::from_ref(&marked.recipes[&file].0))?;
            if let Some((name, recipe)) = Recipe::newest(&self.objects, namespace, file)? {
                let key = format!("{}/{name}", keys::recipes(namespace, file));
                marked.recipes.insert(file, (key, recipe));
            }
        }
        if !wrong.is_empty() {
            proof = prove(&marked)?;
        }
        let (mut moves, mut new) = (Moves::new(), Vec::new());
        let mut packs = Packs::new(&self.objects, namespace);
        for bad in &proof.bad {
            let (key, recipe) = &marked.recipes[&bad.file];
            let Some((segment, location)) = bad.damaged_place(&proof) else {
                done.left.push(format!("{key}: {}", bad.problem));
                continue;
            };
            if moves.contains_key(location) {
                continue;
            }
            let copied = replica.copy(self, recipe, segment, &mut packs, progress)?;
            let Some(copy) = copied else {
                let pack = keys::pack(namespace, &location.pack);
                done.left.push(format!("{pack} of {}: {}", bad.file, bad.problem));
                continue;
            };
            let to = copy.location;
            let mut form = Form::Same;
            if let (Some(stored), Some(digest)) = (copy.stored, recipe.digest(segment)?) {
                // Differences are to the base that is here.
                let ground = stored.ground.and_then(|_| recipe.ground(segment));
                let model_len = stored.model_len;
                form = Form::Tensor { digest, model_len, base: ground.clone() };
                new.push(Stored { location: to.clone(), ground, ..stored });
            }
            moves.insert(location.clone(), Moved { location: to, form });
        }
        packs.finish()?;
        lease.check(namespace)?;
        relocate(self, namespace, &moves, lease, &mut Newest::new())?;
        index::write(&self.objects, namespace, new)?;
        done.repaired += moves.len() as u64;
        Ok(())
    }
}
