//! Storing old revisions as differences: each file after the one that it follows. Commits, roots
//! and digests stay.

use std::collections::{HashMap, HashSet};
use std::mem;

use at1w_container::{Digest, Error as Packing, Level, Progress};

use crate::bases::{CARD, CARD_LEN, MODELS, base_models};
use crate::error::Result;
use crate::index::TensorKey;
use crate::mark::{InUse, Marked, read_trees};
use crate::name::{RepoName, Revision};
use crate::original::Original;
use crate::recipe::{Location, Recipe};
use crate::repack::{Repacked, Rounds};
use crate::stage::{Stage, candidates};
use crate::store::Store;
use crate::tree::{File, Tree};

/// A packed file, and those that it may be stored as differences to; `None` where it stays as it
/// is.
type Follower = (Digest, Option<Vec<Digest>>);

/// Whether a file of a repository may be stored anew.
type Wanted<'a> = &'a dyn Fn(&str, Digest) -> bool;

impl Store {
    /// Stores the tensors of the packed files of a namespace, or of a repository, as differences to
    /// those of the revision before or of models that a card names, where that takes far less.
    /// A base that nothing but one file needs is given up for a tensor that stands alone.
    ///
    /// # Errors
    /// As [`Store::repack`].
    pub fn rebase(
        &self,
        namespace: &str,
        repo: Option<&RepoName>,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<Repacked> {
        let name = repo.map(ToString::to_string);
        let wanted = |of: &str, _| name.as_ref().is_none_or(|name| name == of);
        self.rebase_those(namespace, repo, &wanted, level, progress)
    }

    /// [`Store::rebase`] for some files of a namespace, each named by its SHA-256.
    ///
    /// # Errors
    /// As [`Store::rebase`].
    pub fn rebase_files(
        &self,
        namespace: &str,
        files: &HashSet<Digest>,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<Repacked> {
        let wanted = |_: &str, file: Digest| files.contains(&file);
        self.rebase_those(namespace, None, &wanted, level, progress)
    }

    fn rebase_those(
        &self,
        namespace: &str,
        repo: Option<&RepoName>,
        wanted: Wanted<'_>,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<Repacked> {
        let (lease, marked) = self.begin_repack(namespace, repo)?;
        let Some(mut marked) = marked else { return Ok(Repacked::default()) };
        let mut places = Places::of(&marked);
        let followers = self.followers(namespace, &marked, wanted, progress)?;
        let number = followers.iter().filter(|(_, before)| before.is_some()).count();
        let new = || Stage::new(self, namespace, &lease, level, &|_| true, progress);
        let recipes = mem::take(&mut marked.recipes);
        let (rounds, mut seen) = (Rounds::new(&new, &lease, recipes, number), HashSet::new());
        rounds.run(followers.into_iter(), progress, |rounds, file, before| {
            let Some(recipe) = rounds.recipe(file).cloned() else { return Ok(()) };
            let keys = self.keys_of(namespace, &recipe)?;
            let (mut leaves, mut given_up) = (HashSet::new(), HashSet::new());
            for (segment, &key) in keys.iter().enumerate().filter(|_| before.is_some()) {
                let place = recipe.location(segment);
                match recipe.ground(segment) {
                    Some(base) if places.serves_one(&base.location) => _ = given_up.insert(key),
                    Some(_) => {}
                    None if seen.contains(&key) || places.is_base(&place) => {}
                    None => _ = leaves.insert(key),
                }
            }
            seen.extend(keys);
            let Some(before) = before else { return Ok(()) };
            if leaves.is_empty() && given_up.is_empty() {
                return Ok(());
            }
            rounds.publish(&before)?;
            let stage = rounds.stage()?;
            let bases = stage.open_bases(before)?;
            if bases.is_empty() {
                leaves.clear();
            }
            if leaves.is_empty() && given_up.is_empty() {
                return Ok(());
            }
            given_up.into_iter().for_each(|key| stage.forget(key));
            let original = Original::open(self, namespace, &recipe)?;
            if let Some(after) = rounds.add(&recipe, &original, bases, &leaves)? {
                places.add(&after);
            }
            Ok(())
        })
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
    fn followers(
        &self,
        namespace: &str,
        marked: &Marked,
        wanted: Wanted<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Follower>> {
        // Those that came first are at the end of what leads to a branch.
        let mut commits: Vec<&InUse> = marked.commits.iter().rev().collect();
        commits.sort_by(|a, b| a.commit.time.cmp(&b.commit.time));
        let of =
            |in_use: &&InUse| (in_use.commit.id.clone(), (in_use.repo.clone(), in_use.private));
        let repos: HashMap<_, _> = commits.iter().rev().map(of).collect();
        let (mut followers, mut known) = (Vec::new(), HashSet::new());
        let mut last: HashMap<(String, String), Digest> = HashMap::new();
        let mut models = None;
        let all = commits.iter().map(|in_use| &in_use.commit);
        read_trees(self, namespace, all, |commit, tree| {
            let tree = tree?;
            let (repo, private) = &repos[&commit.id];
            for (path, file) in tree.files.iter().filter(|(_, file)| file.root.is_some()) {
                let before = last.insert((repo.clone(), path.clone()), file.sha256);
                if !known.insert(file.sha256) {
                    continue;
                }
                let before = wanted(repo, file.sha256).then(|| -> Result<Vec<Digest>> {
                    if progress.cancelled() {
                        return Err(Packing::Cancelled.into());
                    }
                    // What a card names came before, whatever times say, which are of whole
                    // seconds.
                    let named = self.of_card(namespace, (repo, *private), &tree, &mut models)?;
                    let named = named.iter().flat_map(|model| candidates(model, path));
                    Ok(before.into_iter().chain(named).filter(|of| *of != file.sha256).collect())
                });
                followers.push((file.sha256, before.transpose()?));
            }
            Ok(())
        })?;
        Ok(followers)
    }

    /// Returns the revisions of the namespace that the card in a tree names as its base. Those of
    /// the last card are kept, and no others: there may be as many cards as commits.
    fn of_card<'a>(
        &self,
        namespace: &str,
        repo: (&str, bool),
        tree: &Tree,
        last: &'a mut Option<(Digest, String, Vec<Tree>)>,
    ) -> Result<&'a [Tree]> {
        let Some(card) = tree.files.get(CARD).filter(|card| card.size <= CARD_LEN) else {
            return Ok(&[]);
        };
        if !last.as_ref().is_some_and(|(of, name, _)| *of == card.sha256 && name == repo.0) {
            let trees = self.base_trees(namespace, repo, &self.read_card(namespace, card))?;
            *last = Some((card.sha256, repo.0.to_owned(), trees));
        }
        Ok(last.as_ref().map_or(&[], |(_, _, trees)| trees))
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
        !self.own.contains(base) && self.bases.get(base).is_some_and(|files| files.len() == 1)
    }
}
