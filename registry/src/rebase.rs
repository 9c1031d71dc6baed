//! Storing old revisions as differences: each file after the one that it follows. Commits, roots
//! and digests stay.

use std::collections::{HashMap, HashSet};

use at1w_container::{Digest, Level, Progress};

use crate::bases::{CARD, CARD_LEN, MODELS, base_models};
use crate::error::Result;
use crate::index::TensorKey;
use crate::mark::{InUse, Marked, read_trees};
use crate::name::{RepoName, Revision};
use crate::original::Original;
use crate::recipe::{Location, Recipe};
use crate::repack::Repacked;
use crate::stage::Stage;
use crate::store::Store;
use crate::tree::{File, Tree};

/// A packed file, and those that it may be stored as differences to.
struct Follower {
    file: Digest,
    repo: String,
    before: Vec<Digest>,
}

impl Store {
    /// Stores the tensors of the packed files of a namespace, or of a repository, as differences to
    /// those of the revision before or of models that a card names, where that takes far less.
    /// A base that nothing but one file needs is given up for a tensor that stands alone.
    ///
    /// # Errors
    /// [`crate::Error::NoRepo`], and those of reading and storing.
    pub fn rebase(
        &self,
        namespace: &str,
        repo: Option<&RepoName>,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<Repacked> {
        let (lease, marked) = self.begin_repack(namespace, repo)?;
        let mut done = Repacked::default();
        let Some(marked) = marked else { return Ok(done) };
        let mut places = Places::of(&marked);
        let new = || Stage::new(self, namespace, &lease, level, &|_| true, progress);
        let (mut stage, mut seen) = (new()?, HashSet::new());
        for Follower { file, repo: of, before } in self.followers(namespace, &marked)? {
            let Some((_, recipe)) = Recipe::newest(&self.objects, namespace, file)? else {
                continue;
            };
            let keys = self.keys_of(namespace, &recipe)?;
            let is_asked = repo.is_none_or(|repo| repo.to_string() == of);
            let mut leaves = HashSet::new();
            for (segment, &key) in keys.iter().enumerate().filter(|_| is_asked) {
                let place = recipe.location(segment);
                match recipe.ground(segment) {
                    Some(base) if places.serves_one(&base.location) => stage.forget(key),
                    Some(_) => {}
                    None if seen.contains(&key) || places.is_base(&place) => {}
                    None => _ = leaves.insert(key),
                }
            }
            seen.extend(keys);
            if !is_asked {
                continue;
            }
            let bases = stage.open_bases(before)?;
            if leaves.is_empty() || bases.is_empty() {
                leaves.clear();
                if !recipe.grounds().any(|(_, base)| places.serves_one(&base.location)) {
                    continue;
                }
            }
            stage.add_packed(&Original::open(self, namespace, &recipe)?, bases, &leaves)?;
            let Some(after) = stage.recipe_of(file).cloned() else { continue };
            stage.leave(&recipe, &after)?;
            let old: HashSet<_> = recipe.locations().collect();
            let left =
                old.difference(&after.locations().collect()).map(|place| place.len).sum::<u64>();
            places.add(&after);
            done.files += 1;
            done.before += left;
            // The next file may follow this one.
            stage.name_recipes(lease.now());
            let written = stage.write(None, &lease).and_then(|()| lease.check(namespace));
            stage.settle(written, &lease)?;
            done.after += stage.written();
            stage = new()?;
        }
        Ok(done)
    }

    /// Returns the key of the tensor of each segment of a packed file.
    fn keys_of(&self, namespace: &str, recipe: &Recipe) -> Result<Vec<TensorKey>> {
        let Some(packed) = &recipe.packed else { return Ok(Vec::new()) };
        let reader = self.reader(namespace, recipe)?;
        let all = reader.header().tensors().iter().zip(reader.tensors());
        let keys: Vec<_> = all.map(|(info, tensor)| TensorKey::of(info, tensor.digest())).collect();
        Ok(packed.tensors.iter().filter_map(|&tensor| keys.get(tensor as usize).copied()).collect())
    }

    /// Returns the packed files in use in the order in which they came, each once.
    fn followers(&self, namespace: &str, marked: &Marked) -> Result<Vec<Follower>> {
        // Those that came first are at the end of what leads to a branch.
        let mut commits: Vec<&InUse> = marked.commits.iter().rev().collect();
        commits.sort_by(|a, b| a.commit.time.cmp(&b.commit.time));
        let of =
            |in_use: &&InUse| (in_use.commit.id.clone(), (in_use.repo.clone(), in_use.private));
        let repos: HashMap<_, _> = commits.iter().rev().map(of).collect();
        let (mut followers, mut known) = (Vec::new(), HashSet::new());
        let mut last: HashMap<(String, String), Digest> = HashMap::new();
        let mut cards = HashMap::new();
        let all = commits.iter().map(|in_use| &in_use.commit);
        read_trees(self, namespace, all, |commit, tree| {
            let tree = tree?;
            let (repo, private) = &repos[&commit.id];
            for (path, file) in tree.files.iter().filter(|(_, file)| file.root.is_some()) {
                let before = last.insert((repo.clone(), path.clone()), file.sha256);
                if !known.insert(file.sha256) {
                    continue;
                }
                let mut before: Vec<_> = before.into_iter().collect();
                for other in self.of_card(namespace, (repo, *private), &tree, &mut cards)? {
                    match other.files.get(path) {
                        Some(same) => before.push(same.sha256),
                        None => before.extend(other.files.values().map(|file| file.sha256)),
                    }
                }
                before.retain(|other| *other != file.sha256 && known.contains(other));
                followers.push(Follower { file: file.sha256, repo: repo.clone(), before });
            }
            Ok(())
        })?;
        Ok(followers)
    }

    /// Returns the revisions of the namespace that the card in a tree names as its base.
    fn of_card<'a>(
        &self,
        namespace: &str,
        repo: (&str, bool),
        tree: &Tree,
        known: &'a mut HashMap<(Digest, String), Vec<Tree>>,
    ) -> Result<&'a [Tree]> {
        let Some(card) = tree.files.get(CARD).filter(|card| card.size <= CARD_LEN) else {
            return Ok(&[]);
        };
        let key = (card.sha256, repo.0.to_owned());
        if !known.contains_key(&key) {
            let trees = self.base_trees(namespace, repo, &self.read_card(namespace, card))?;
            known.insert(key.clone(), trees);
        }
        Ok(&known[&key])
    }

    /// Reads a card; one that cannot be read says nothing.
    pub(crate) fn read_card(&self, namespace: &str, card: &File) -> Vec<u8> {
        let read = self.original(namespace, card).and_then(|file| file.read(0..card.size));
        read.unwrap_or_default()
    }

    /// Returns the revisions of the namespace that a card names as the base of a repository. Unless
    /// that is private, those of private ones are left out: sizes tell that there are some.
    pub(crate) fn base_trees(
        &self,
        namespace: &str,
        (repo, private): (&str, bool),
        card: &[u8],
    ) -> Result<Vec<Tree>> {
        let named = base_models(&String::from_utf8_lossy(card)).into_iter();
        let named = named.filter_map(|model| model.parse::<Revision>().ok());
        let here =
            named.filter(|base| base.repo.namespace == namespace && base.repo.to_string() != repo);
        let mut trees = Vec::new();
        for base in here.take(MODELS) {
            let tree =
                self.head(&base.repo).and_then(|head| match head.entry.private && !private {
                    true => Ok(None),
                    false => self.tree(&base).map(|(_, tree)| Some(tree)),
                });
            match tree {
                Ok(tree) => trees.extend(tree),
                Err(error) if error.is_not_found() || error.is_integrity() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(trees)
    }
}

/// The places of tensors in use, and those that are bases.
struct Places {
    own: HashSet<Location>,
    /// The files that need each base.
    bases: HashMap<Location, HashSet<Digest>>,
}

impl Places {
    fn of(marked: &Marked) -> Self {
        let mut places = Self { own: HashSet::new(), bases: HashMap::new() };
        marked.recipes.values().for_each(|(_, recipe)| places.add(recipe));
        places
    }

    fn add(&mut self, recipe: &Recipe) {
        self.own.extend(recipe.own_locations());
        for (_, ground) in recipe.grounds() {
            self.bases.entry(ground.location).or_default().insert(recipe.sha256);
        }
    }

    fn is_base(&self, place: &Location) -> bool {
        self.bases.contains_key(place)
    }

    /// Whether the tensor of a base is in no file any more, and one file alone needs it.
    fn serves_one(&self, base: &Location) -> bool {
        !self.own.contains(base) && self.bases.get(base).is_none_or(|files| files.len() == 1)
    }
}
