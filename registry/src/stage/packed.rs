//! Packed files: the tensors that are not there yet are written, and those that are found are
//! relied on.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use at1w_container::{
    Digest, Error as Packing, Header, PackBase, PackOptions, PartBase, Parts, Place, ReadAt,
    StoredLen, TensorInfo, TensorStore, pack_parts,
};

use super::{ENCODER, Stage, mark};
use crate::bases::Bases;
use crate::content::pointer;
use crate::error::{Error, Result, is_damage};
use crate::index::{Index, Samples, Stored, TensorKey};
use crate::recipe::{Form, Ground, Location, Moved, Packed, Recipe};
use crate::tree;

/// The tensors that packing need not encode, and those that others may be differences to.
struct Known<'a> {
    index: &'a Index,
    bases: &'a Bases,
    /// The tensors that are stored as differences although they are there.
    leaves: &'a HashSet<TensorKey>,
    /// The tensors that are good copies of damaged ones: they heal whatever needs these.
    heal: &'a HashMap<TensorKey, Vec<Location>>,
    /// The names of damaged tensors that would be bases.
    lost: Mutex<HashSet<String>>,
}

impl TensorStore for Known<'_> {
    fn may_have(&self, tensor: &TensorInfo, samples: &[u8]) -> bool {
        self.index.may_have(Samples::of(tensor, samples))
    }

    fn find(&self, tensor: &TensorInfo, digest: Digest) -> Option<(StoredLen, Option<PartBase>)> {
        let stored = self.index.get(TensorKey::of(tensor, digest))?;
        if stored.location.len == 0 && tensor.raw_len() > 0 {
            return None;
        }
        Some((stored.len(), stored.ground.as_ref().map(Ground::part)))
    }

    fn may_leave(&self, tensor: &TensorInfo, digest: Digest) -> bool {
        !self.leaves.is_empty() && self.leaves.contains(&TensorKey::of(tensor, digest))
    }

    fn stands_alone(&self, tensor: &TensorInfo, digest: Digest) -> bool {
        self.heal.contains_key(&TensorKey::of(tensor, digest))
    }

    fn bases(&self) -> &[PackBase] {
        &self.bases.files
    }

    fn may_be_base(&self, file: usize, tensor: usize) -> bool {
        if self.bases.is_damaged(file, tensor) {
            let name = self.bases.files[file].weights().header().tensors()[tensor].name();
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into());
        }
        self.bases.may_be_base(file, tensor)
    }
}

impl Stage<'_> {
    /// Stores the tensors of a safetensors file that are not there yet, or that `leaves` has; as
    /// differences to bases where that takes less.
    pub(crate) fn add_packed(
        &mut self,
        source: &dyn ReadAt,
        mut bases: Bases,
        leaves: &HashSet<TensorKey>,
    ) -> Result<tree::File> {
        let (parts, recipe) = loop {
            let mut spool = self.packs.begin();
            let options = PackOptions::new().level(self.level).progress(self.progress);
            let (index, heal, lost) = (&self.index, &self.damaged, Mutex::default());
            let known = Known { index, bases: &bases, leaves, heal, lost };
            let parts = match pack_parts(source, &mut spool, &known, &options) {
                Err(error) => {
                    // Nobody needs a base that is damaged.
                    let damaged = is_damage(&error).then(|| bases.of(&error)).flatten();
                    let Some(file) = damaged else { return Err(error.into()) };
                    let refuted = bases.refuted(file, &Header::read(source)?, self.progress)?;
                    if refuted.is_empty() {
                        bases = Bases::default();
                    }
                    self.give_up(refuted, &mut bases)?;
                    continue;
                }
                Ok(parts) => parts,
            };
            let lost = known.lost.into_inner().unwrap_or_else(PoisonError::into_inner);
            let (pack, start) = self.packs.end(spool)?;
            let recipe = self.make_recipe(&parts, (&pack, start), &bases)?;
            // Stored bytes that nobody has proven lately are proven now, or are made anew.
            let refuted = self.refuted(&parts, &recipe)?;
            if refuted.is_empty() {
                // Bases have the names of their versions.
                let all = parts.header.tensors().iter().zip(&parts.tensors);
                let alone = all.filter(|(info, part)| {
                    part.base.is_none()
                        && !matches!(part.place, Place::Shared(_))
                        && lost.contains(info.name())
                });
                self.without_base = alone.count() as u64;
                break (parts, recipe);
            }
            self.give_up(refuted, &mut bases)?;
        };
        let summary = &parts.summary;
        let new = parts.tensors.iter().filter(|part| matches!(part.place, Place::New { .. }));
        self.tensors.0 += parts.tensors.len() as u64;
        self.tensors.1 += new.count() as u64;
        let file = tree::File {
            size: summary.original_len,
            sha256: summary.original_digest,
            git: pointer(summary.original_digest, summary.original_len),
            root: Some(summary.root),
            recipe: None,
        };
        self.keep(file, recipe)
    }

    /// Makes the recipe of a file whose new tensors lie in `pack` from `start` on.
    fn make_recipe(
        &mut self,
        parts: &Parts,
        (pack, start): (&str, u64),
        bases: &Bases,
    ) -> Result<Recipe> {
        let summary = &parts.summary;
        let level = self.level.name();
        let packed = Packed {
            root: summary.root,
            level: level.into(),
            encoder: ENCODER.into(),
            tensors: Vec::new(),
        };
        let (size, sha256) = (summary.original_len, summary.original_digest);
        let mut recipe = Recipe::new(size, sha256, Some((packed, parts.tail.clone())));
        let mut tensors = Vec::with_capacity(parts.tensors.len());
        let infos = parts.header.tensors();
        for (at, (info, part)) in infos.iter().zip(&parts.tensors).enumerate() {
            let key = TensorKey::of(info, part.digest);
            let (location, ground) = match part.place {
                Place::Shared(_) => continue,
                Place::Found => {
                    let stored = self.index.get(key);
                    let stored =
                        stored.ok_or_else(|| Error::damaged("index", "a tensor is gone"))?;
                    (stored.location.clone(), stored.ground.clone())
                }
                Place::New { offset } => {
                    let (pack, len) = (pack.to_owned(), part.len.stored_len);
                    let location = Location { pack, offset: start + offset, len };
                    let ground = bases.ground(part)?;
                    let stored = Stored {
                        key,
                        samples: Samples::of(info, &part.samples),
                        location: location.clone(),
                        model_len: part.len.model_len,
                        level: level.into(),
                        encoder: ENCODER.into(),
                        ground: ground.clone(),
                    };
                    self.add_tensor(stored, part.digest);
                    (location, ground)
                }
            };
            recipe.push(&location, ground.as_ref());
            tensors.push(at as u32);
        }
        if let Some(packed) = &mut recipe.packed {
            packed.tensors = tensors;
        }
        Ok(recipe)
    }

    /// Notes a tensor with a SHA-256 that was written: it is found from now on, and heals damaged
    /// ones.
    pub(super) fn add_tensor(&mut self, stored: Stored, digest: Digest) {
        for damaged in self.damaged.remove(&stored.key).unwrap_or_default() {
            let (model_len, base) = (stored.model_len, stored.ground.clone());
            let form = Form::Tensor { digest, model_len, base };
            self.healed.insert(damaged, Moved { location: stored.location.clone(), form });
        }
        self.packs.keep(&stored.location.pack);
        self.index.replace(stored.clone());
        self.new.push(stored);
    }

    /// Marks damaged places, each with the problem. Nothing relies on them any more: neither the
    /// tensors that are there, nor those that are differences to them.
    fn give_up(&mut self, refuted: Vec<(Location, String)>, bases: &mut Bases) -> Result<()> {
        for (place, problem) in refuted {
            let key = match self.view.doubts.marks.contains_key(&place) {
                true => None,
                false => Some(mark(self.store, self.namespace, &place, &problem)?),
            };
            // In any case: the file is looked at again, until nothing that is found is damaged.
            for stored in self.index.remove_all(|stored| !stored.all(|needed| *needed != place)) {
                self.damaged.entry(stored.key).or_default().push(stored.location);
            }
            bases.give_up(&place);
            if let Some(key) = key {
                self.view.doubts.marks.insert(place, vec![key]);
            }
        }
        Ok(())
    }

    /// Proves the found tensors of a file whose packs nobody has proven lately; returns the places
    /// that are damaged, each with the problem.
    fn refuted(&self, parts: &Parts, recipe: &Recipe) -> Result<Vec<(Location, String)>> {
        let tensors = recipe.packed.iter().flat_map(|packed| &packed.tensors).enumerate();
        let stale = tensors.filter(|&(segment, &tensor)| {
            let found = parts.tensors[tensor as usize].place == Place::Found;
            let is_stale = |Location { pack, .. }: &Location| !self.view.is_fresh(pack);
            let (own, ground) = (recipe.location(segment), recipe.ground(segment));
            // Not those that this stage is about to write: they were made from proven bytes.
            found
                && self.view.packs.contains_key(&own.pack)
                && (is_stale(&own) || ground.is_some_and(|ground| is_stale(&ground.location)))
        });
        let stale: Vec<_> = stale.map(|(segment, &tensor)| (segment, tensor as usize)).collect();
        if stale.is_empty() {
            return Ok(Vec::new());
        }
        let mut recipe = recipe.clone();
        self.fill_in(&mut recipe);
        let reader = self.store.reader(self.namespace, &recipe)?;
        let all: Vec<_> = reader.tensors().collect();
        let mut refuted = Vec::new();
        for (segment, tensor) in stale {
            match all[tensor].verify(self.progress) {
                Ok(()) => {}
                // A bad network is no damage.
                Err(error) if !is_damage(&error) => return Err(error.into()),
                Err(error) => {
                    // Wrong facts about a base say nothing about the bytes of the base.
                    let of_base = error.is_of_base()
                        && !matches!(error.innermost(), Packing::WrongBase { .. });
                    let ground = recipe.ground(segment).filter(|_| of_base);
                    let place = ground.map_or_else(|| recipe.location(segment), |b| b.location);
                    refuted.push((place, error.to_string()));
                }
            }
        }
        Ok(refuted)
    }
}
