//! Proving stored bytes: each tensor is decoded and held against its SHA-256, each other file is
//! hashed.

use std::collections::{HashMap, HashSet};

use at1w_container::{Digest, Error as Packing, Progress, Reader, Tensor};
use rayon::prelude::*;

use crate::content::hash;
use crate::error::{Error, Result, is_damage, is_loss};
use crate::index::TensorKey;
use crate::keys;
use crate::mark::Marked;
use crate::recipe::{Facts, Ground, Location, Recipe};
use crate::store::Store;
use crate::stored_file::StoredFile;

/// What was proven, and what was refuted.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// For each place, the contents that recipes say it has, each with the problem if it is another
    /// one. Bytes have one content: where two recipes disagree, one of them is damaged, and the
    /// bytes are not.
    places: HashMap<Location, HashMap<Digest, Option<String>>>,
    /// What is bad, for each recipe that names it.
    pub(crate) bad: Vec<Bad>,
    /// The number of stored bytes that were read.
    pub(crate) bytes: u64,
    /// The places of differences that could not be proven because their base is damaged.
    unproven: HashSet<Location>,
}

/// A damaged place of a recipe, or a damaged recipe.
#[derive(Clone, Debug)]
pub(crate) struct Bad {
    /// The SHA-256 of the original file.
    pub(crate) file: Digest,
    /// The segment, and where its bytes lie; `None` for a recipe that is not what it should be.
    pub(crate) segment: Option<(usize, Location)>,
    /// The name of the tensor, where it is one.
    pub(crate) tensor: Option<String>,
    pub(crate) problem: String,
}

impl Bad {
    /// Returns the segment and the place whose bytes are damaged; `None` where the recipe is.
    pub(crate) fn damaged_place(&self, proof: &Proof) -> Option<(usize, &Location)> {
        let (segment, location) = self.segment.as_ref()?;
        (!proof.is_good(location)).then_some((*segment, location))
    }
}

/// The packs of a namespace and their lengths.
pub(crate) type Lens = HashMap<String, u64>;

pub(crate) fn pack_lens(store: &Store, namespace: &str) -> Result<Lens> {
    let listed = store.objects.list(&keys::packs(namespace))?;
    Ok(listed.into_iter().map(|meta| (keys::last_part(&meta.key).to_owned(), meta.len)).collect())
}

impl Proof {
    /// Proves what files of a namespace name. Where bytes are not what a file says, the other files
    /// that name them are asked as well: if one finds its content there, it is the recipe of the
    /// first one that is damaged. `after` is called after each file that was asked for.
    pub(crate) fn of(
        store: &Store,
        namespace: &str,
        marked: &Marked,
        files: &dyn Fn(&Digest) -> bool,
        wanted: &dyn Fn(&Location) -> bool,
        progress: &dyn Progress,
        mut after: impl FnMut(&Self) -> Result<()>,
    ) -> Result<Self> {
        let lens = pack_lens(store, namespace)?;
        let mut proof = Self::default();
        let (asked, others): (Vec<_>, Vec<_>) =
            marked.recipes.values().partition(|(_, recipe)| files(&recipe.sha256));
        // A recipe that is whole in itself may be of another file than trees say.
        let strange = marked.files(|_| true).filter(|file| {
            marked.recipes.get(&file.sha256).is_some_and(|(_, recipe)| !recipe.is_of(file))
        });
        let strange: HashSet<_> = strange.map(|file| file.sha256).collect();
        for (_, recipe) in asked {
            let file = recipe.sha256;
            if strange.contains(&file) {
                let problem = "it is not what trees say".to_owned();
                proof.bad.push(Bad { file, segment: None, tensor: None, problem });
            } else {
                proof.add(store, namespace, recipe, &lens, wanted, progress)?;
                after(&proof)?;
            }
        }
        let doubted: HashSet<_> = proof.damaged().into_keys().cloned().collect();
        for (_, recipe) in others.into_iter().filter(|_| !doubted.is_empty()) {
            if recipe.locations().any(|location| doubted.contains(&location)) {
                let doubted = |location: &Location| doubted.contains(location);
                proof.add(store, namespace, recipe, &lens, &doubted, &())?;
            }
        }
        proof.bad.retain(|bad| files(&bad.file));
        Ok(proof)
    }

    /// Proves the places of a recipe that are `wanted`, and that were not proven or refuted before.
    pub(crate) fn add(
        &mut self,
        store: &Store,
        namespace: &str,
        recipe: &Recipe,
        lens: &Lens,
        wanted: &dyn Fn(&Location) -> bool,
        progress: &dyn Progress,
    ) -> Result<()> {
        let file = recipe.sha256;
        let reader = match open(store, namespace, recipe) {
            Ok(reader) => reader,
            Err(error) if error.is_integrity() => {
                let problem = error.to_string();
                self.bad.push(Bad { file, segment: None, tensor: None, problem });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let claims = claims(recipe, reader.as_ref());
        // Bases first: where one is damaged, its versions prove nothing.
        let (bases, own): (Vec<_>, Vec<_>) = claims.iter().partition(|claim| claim.of_base);
        for part in [bases, own] {
            let mut todo = Vec::new();
            for claim in part {
                let Claim { location, content, .. } = claim;
                let known =
                    self.places.get(location).is_some_and(|place| place.contains_key(content));
                if known || !wanted(location) {
                    continue;
                }
                match unreachable(location, lens) {
                    None if self.lacks_base(recipe, claim) => {
                        self.unproven.insert(location.clone());
                    }
                    None => todo.push(claim),
                    problem => self.record(claim, problem),
                }
            }
            self.bytes += todo.iter().map(|claim| claim.location.len).sum::<u64>();
            if reader.is_none() && !todo.is_empty() {
                let problem = refuted(store, namespace, recipe, progress)?;
                todo.iter().for_each(|claim| self.record(claim, problem.clone()));
                continue;
            }
            let verify = |claim: &&Claim<'_>| match claim.verify(progress) {
                Err(error) if is_damage(&error) => Ok(Some(error)),
                proven => proven.map(|()| None),
            };
            let proven: Vec<_> = todo.par_iter().map(verify).collect::<Result<_, Packing>>()?;
            for (claim, error) in todo.into_iter().zip(proven) {
                let problem = error.as_ref().map(ToString::to_string);
                // A version whose base is damaged may be good itself.
                let about_base = error.is_some_and(|error| error.is_of_base()) && !claim.of_base;
                let base = |base: &&Claim<'_>| base.of_base && base.segment == claim.segment;
                match claims.iter().find(base).filter(|_| about_base) {
                    Some(base) if !self.is_good(&base.location) => {
                        self.unproven.insert(claim.location.clone());
                        self.record(base, problem);
                    }
                    _ => self.record(claim, problem),
                }
            }
        }
        for (segment, claim) in claims.iter().enumerate() {
            let Claim { location, content, tensor, .. } = claim;
            let outcome = self.places.get(location).and_then(|place| place.get(content));
            let Some(Some(problem)) = outcome else { continue };
            let tensor = tensor.as_ref().map(|tensor| tensor.name().to_owned());
            let (segment, problem) = (Some((segment, location.clone())), problem.clone());
            self.bad.push(Bad { file, segment, tensor, problem });
        }
        Ok(())
    }

    /// Whether the base of a tensor is damaged.
    fn lacks_base(&self, recipe: &Recipe, claim: &Claim<'_>) -> bool {
        let ground = recipe.ground(claim.segment).filter(|_| !claim.of_base);
        ground.is_some_and(|ground| {
            self.places.contains_key(&ground.location) && !self.is_good(&ground.location)
        })
    }

    fn record(&mut self, claim: &Claim<'_>, problem: Option<String>) {
        self.places.entry(claim.location.clone()).or_default().insert(claim.content, problem);
    }

    /// Whether the bytes of a place are proven: one that they were not is about the recipe then.
    pub(crate) fn is_good(&self, location: &Location) -> bool {
        self.places.get(location).is_some_and(|place| place.values().any(Option::is_none))
    }

    /// Returns the number of places that could not be proven because a base is damaged.
    pub(crate) fn unproven(&self) -> u64 {
        self.unproven.iter().filter(|location| !self.places.contains_key(location)).count() as u64
    }

    /// Returns the places that are proven.
    pub(crate) fn good(&self) -> impl Iterator<Item = &Location> {
        self.places.keys().filter(|location| self.is_good(location))
    }

    /// Returns the places whose bytes are damaged, each with the problem.
    pub(crate) fn damaged(&self) -> HashMap<&Location, &str> {
        let damaged = self.bad.iter();
        damaged.filter_map(|bad| Some((bad.damaged_place(self)?.1, bad.problem.as_str()))).collect()
    }
}

/// The content that a recipe says a place has.
struct Claim<'a> {
    location: Location,
    /// The key of the tensor, or the SHA-256 of the file.
    content: Digest,
    tensor: Option<Tensor<'a>>,
    /// The segment, and whether the place is that of its base.
    segment: usize,
    of_base: bool,
}

impl Claim<'_> {
    fn verify(&self, progress: &dyn Progress) -> Result<(), Packing> {
        match &self.tensor {
            Some(tensor) if self.of_base => tensor.verify_base(&()),
            Some(tensor) => tensor.verify(progress),
            None => Ok(()),
        }
    }
}

fn claims<'a>(recipe: &Recipe, reader: Option<&'a Reader>) -> Vec<Claim<'a>> {
    let tensors: Vec<_> = reader.into_iter().flat_map(Reader::tensors).collect();
    let own = |(segment, location)| {
        let at = recipe.packed.as_ref().map(|packed| packed.tensors[segment] as usize);
        let (content, tensor) = match (at, reader) {
            (Some(at), Some(reader)) => {
                let info = &reader.header().tensors()[at];
                let key = TensorKey::of(info, tensors[at].digest());
                (key.digest(), Some(tensors[at]))
            }
            _ => (recipe.sha256, None),
        };
        Claim { location, content, tensor, segment, of_base: false }
    };
    let base = |(segment, ground): (usize, Ground)| {
        let at = recipe.packed.as_ref().map(|packed| packed.tensors[segment] as usize);
        let (info, tensor) = (&reader?.header().tensors()[at?], Some(tensors[at?]));
        let Ground { location, facts: Facts { rounded, sha256, .. } } = ground;
        let content = TensorKey::of_base(info, rounded, sha256).digest();
        Some(Claim { location, content, tensor, segment, of_base: true })
    };
    let own = recipe.own_locations().enumerate().map(own);
    own.chain(recipe.grounds().filter_map(base)).collect()
}

/// Opens a recipe, and checks that its parts fit; `None` for a file that is stored as it is.
fn open(store: &Store, namespace: &str, recipe: &Recipe) -> Result<Option<Reader>> {
    let Some(packed) = &recipe.packed else { return Ok(None) };
    let reader = store.reader(namespace, recipe)?;
    let info = reader.info();
    let lens: Vec<_> = reader.tensors().map(|tensor| tensor.stored_len()).collect();
    let segments = packed.tensors.iter().zip(&recipe.segments);
    let fits = (info.original_len, info.original_digest) == (recipe.size, recipe.sha256)
        && segments.into_iter().all(|(&at, segment)| lens.get(at as usize) == Some(&segment.len));
    match fits {
        true => Ok(Some(reader)),
        false => Err(Error::damaged("recipe", "its index and its places do not fit")),
    }
}

/// Returns why the bytes of a place cannot be there.
fn unreachable(location: &Location, lens: &Lens) -> Option<String> {
    match lens.get(&location.pack) {
        Some(&len) if location.offset + location.len <= len => None,
        Some(len) => Some(format!("its pack is cut short: it has {len} bytes")),
        None => Some("its pack is missing".into()),
    }
}

/// Hashes a file that is stored as it is; returns what is wrong with it.
fn refuted(
    store: &Store,
    namespace: &str,
    recipe: &Recipe,
    progress: &dyn Progress,
) -> Result<Option<String>> {
    let stored = StoredFile::open(&store.objects, namespace, recipe);
    match hash(&stored, progress) {
        Ok(digest) if digest == recipe.sha256 => Ok(None),
        Ok(digest) => Ok(Some(format!("it has SHA-256 {digest}, not {}", recipe.sha256))),
        Err(error) if is_loss(&error) => Ok(Some(error.to_string())),
        Err(cause) => Err(Error::Io { path: recipe.sha256.to_string(), cause }),
    }
}
