//! Repacking: the same content in fewer bytes. Commits, roots and digests stay; files get new
//! recipes, and what they leave behind is collected later.

use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use at1w_container::{Digest, Error as Packing, Level, Progress};

use crate::bases::Bases;
use crate::error::{Error, Result};
use crate::index::{Stored, TensorKey};
use crate::lease::Lease;
use crate::mark::{Marked, mark};
use crate::name::RepoName;
use crate::original::{Original, of_original};
use crate::recipe::Recipe;
use crate::relocate::Newest;
use crate::stage::{ENCODER, Stage};
use crate::store::Store;

/// The most rounds of a run: after each all recipes of the namespace are listed, so that other
/// files take the new bytes as well. Who kills a run loses one round at most.
const ROUNDS: usize = 64;

/// The fewest files of a round.
const FILES: usize = 16;

/// The number of stored bytes after which the recipes that name them are written.
const BYTES: u64 = 64 << 20;

/// The outcome of a repack. Lengths are in bytes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Repacked {
    /// The number of files that have new recipes.
    pub files: u64,
    /// The length of what their old recipes name, and new ones do not.
    pub before: u64,
    /// The length of what was written for them.
    pub after: u64,
    /// The number of tensors that stand alone because their bases are damaged.
    pub bases_lost: u64,
    /// The files that were left as they are because they are damaged, each with the problem.
    pub damaged: Vec<(Digest, Error)>,
}

impl Store {
    /// Stores the tensors of the packed files of a namespace, or of a repository, at another level,
    /// where they are not.
    ///
    /// # Errors
    /// [`Error::NoRepo`], and those of reading and storing. What is stored by then stays. A file
    /// that is damaged is no error: it keeps no other from being stored.
    pub fn repack(
        &self,
        namespace: &str,
        repo: Option<&RepoName>,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<Repacked> {
        let (lease, marked) = self.begin_repack(namespace, repo)?;
        let Some(mut marked) = marked else { return Ok(Repacked::default()) };
        let of = marked.files(|commit| repo.is_none_or(|repo| commit.repo == repo.to_string()));
        let wanted: HashSet<_> = of.map(|file| file.sha256).collect();
        let packed = |digest: &Digest| marked.recipes.get(digest)?.1.packed.as_ref();
        let mut wanted: Vec<_> =
            wanted.into_iter().filter(|digest| packed(digest).is_some()).collect();
        wanted.sort_by_key(|digest| digest.0);
        let name = level.name();
        // Differences stay: at any level they take less than what stands alone.
        let accept = |stored: &Stored| {
            stored.ground.is_some() || stored.level == name && stored.encoder == ENCODER
        };
        let new = || Stage::new(self, namespace, &lease, level, &accept, progress);
        let recipes = mem::take(&mut marked.recipes);
        let rounds = Rounds::new(&new, &lease, recipes, wanted.len());
        let wanted = wanted.into_iter().map(|sha256| (sha256, ()));
        rounds.run(wanted, progress, |rounds, sha256, ()| {
            let Some(recipe) = rounds.recipe(sha256).cloned() else { return Ok(()) };
            let original = Original::open(self, namespace, &recipe)?;
            rounds.add(&recipe, &original, Bases::default(), &HashSet::new()).map(drop)
        })
    }

    /// Begins a lease, and marks what is in use of a namespace; of one that has this repository, if
    /// one is named.
    pub(crate) fn begin_repack(
        &self,
        namespace: &str,
        repo: Option<&RepoName>,
    ) -> Result<(Lease, Option<Marked>)> {
        self.require()?;
        if let Some(repo) = repo {
            self.head(repo)?;
        }
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let mut marked = mark(self, Some(namespace), lease.began, Duration::ZERO)?;
        Ok((lease, marked.remove(namespace)))
    }
}

/// A run that stores files anew, in rounds.
pub(crate) struct Rounds<'a> {
    new: &'a dyn Fn() -> Result<Stage<'a>>,
    lease: &'a Lease,
    /// The number of files of a round.
    size: u64,
    round: Option<Round<'a>>,
    /// The newest recipes of the namespace, between rounds.
    recipes: Newest,
    /// Whether a round could not begin or end.
    failed: bool,
    done: Repacked,
}

/// The files that are stored anew before others take their bytes.
struct Round<'a> {
    stage: Stage<'a>,
    files: u64,
    /// The number of bytes that recipes name which are written.
    named: u64,
    /// Whether something could not be written: nothing may rely on it.
    failed: bool,
}

impl<'a> Rounds<'a> {
    /// Begins a run over some files, each round of which is a stage.
    pub(crate) fn new(
        new: &'a dyn Fn() -> Result<Stage<'a>>,
        lease: &'a Lease,
        recipes: Newest,
        files: usize,
    ) -> Self {
        let size = files.div_ceil(ROUNDS).max(FILES) as u64;
        let done = Repacked::default();
        Self { new, lease, size, round: None, recipes, failed: false, done }
    }

    /// Returns the newest recipe of a file that was in use when the run began.
    pub(crate) fn recipe(&self, file: Digest) -> Option<&Recipe> {
        let recipes = self.round.as_ref().map_or(&self.recipes, |round| &round.stage.read);
        recipes.get(&file).map(|(_, recipe)| recipe)
    }

    fn round(&mut self) -> Result<&mut Round<'a>> {
        if self.round.is_none() {
            let mut stage = (self.new)().inspect_err(|_| self.failed = true)?;
            stage.read = mem::take(&mut self.recipes);
            self.round = Some(Round { stage, files: 0, named: 0, failed: false });
        }
        Ok(self.round.as_mut().expect("it was made"))
    }

    /// Returns the stage of this round.
    pub(crate) fn stage(&mut self) -> Result<&mut Stage<'a>> {
        Ok(&mut self.round()?.stage)
    }

    /// Has what was stored be there to be read if it has one of these files.
    pub(crate) fn publish(&mut self, files: &[Digest]) -> Result<()> {
        let round = self.round.as_mut();
        match round.filter(|round| files.iter().any(|&file| round.stage.recipe_of(file).is_some()))
        {
            Some(round) => round.write(self.lease),
            None => Ok(()),
        }
    }

    /// Stores a file anew; returns its new recipe, unless it is stored like that already.
    pub(crate) fn add(
        &mut self,
        before: &Recipe,
        original: &Original,
        bases: Bases,
        leaves: &HashSet<TensorKey>,
    ) -> Result<Option<Recipe>> {
        let (lease, size) = (self.lease, self.size);
        let round = self.round()?;
        round.stage.add_packed(original, bases, leaves).map_err(of_original)?;
        let lost = mem::take(&mut round.stage.without_base);
        let after = round.stage.recipe_of(before.sha256).cloned();
        self.done.bases_lost += lost;
        let (Some(after), Some(round)) = (after, &mut self.round) else { return Ok(None) };
        round.stage.leave(before, &after)?;
        round.files += 1;
        if round.stage.written() - round.named >= BYTES {
            round.write(lease)?;
        }
        let full = round.files >= size;
        let (old, new): (HashSet<_>, HashSet<_>) =
            (before.locations().collect(), after.locations().collect());
        self.done.files += 1;
        self.done.before += old.difference(&new).map(|place| place.len).sum::<u64>();
        if full {
            self.settle().inspect_err(|_| self.failed = true)?;
        }
        Ok(Some(after))
    }

    /// Goes from file to file. One that is damaged is left as it is; what is stored stays, whatever
    /// happens.
    pub(crate) fn run<T>(
        mut self,
        mut files: impl Iterator<Item = (Digest, T)>,
        progress: &dyn Progress,
        mut each: impl FnMut(&mut Self, Digest, T) -> Result<()>,
    ) -> Result<Repacked> {
        let outcome = files.try_for_each(|(file, how)| {
            if progress.cancelled() {
                return Err(Packing::Cancelled.into());
            }
            match each(&mut self, file, how) {
                Err(error) if error.is_damage() && !self.is_broken() => {
                    self.done.damaged.push((file, error));
                    Ok(())
                }
                done => done,
            }
        });
        let settled = self.settle();
        outcome.and(settled)?;
        Ok(self.done)
    }

    /// Whether an error is about more than one file.
    fn is_broken(&self) -> bool {
        self.failed || self.round.as_ref().is_some_and(|round| round.failed)
    }

    /// Ends a round: other files that have the old bytes take the new ones.
    fn settle(&mut self) -> Result<()> {
        let Some(mut round) = self.round.take() else { return Ok(()) };
        if round.failed {
            // The collector may have given up on it. If not, whatever was written is as good as
            // what it supersedes, which stays.
            let held = self.lease.check(round.stage.namespace());
            return held.or_else(|error| round.stage.held(Err(error)));
        }
        let written = round.write(self.lease);
        let written = written.and_then(|()| self.lease.check(round.stage.namespace()));
        self.done.after += round.stage.written();
        round.stage.held(written)?;
        // By this step other files leave the old bytes.
        match round.stage.mend(self.lease) {
            Err(error) if error.is_damage() => round.stage.warn_unhealed(&error),
            mended => mended?,
        }
        self.recipes = round.stage.read;
        Ok(())
    }
}

impl Round<'_> {
    /// Writes the recipes of the files so far, and what they name.
    fn write(&mut self, lease: &Lease) -> Result<()> {
        self.named = self.stage.written();
        self.stage.name_recipes(lease.now());
        self.stage.write(None, lease).inspect_err(|_| self.failed = true)
    }
}
