//! Repacking: the same content in fewer bytes. Commits, roots and digests stay; files get new
//! recipes, and what they leave behind is collected later.

use std::collections::HashSet;
use std::time::Duration;

use at1w_container::{Level, Progress};

use crate::bases::Bases;
use crate::error::Result;
use crate::index::Stored;
use crate::lease::Lease;
use crate::mark::{Marked, mark};
use crate::name::RepoName;
use crate::original::Original;
use crate::stage::{ENCODER, Stage};
use crate::store::Store;

/// The outcome of a repack. Lengths are in bytes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Repacked {
    /// The number of files that have new recipes.
    pub files: u64,
    /// The length of what their old recipes name, and new ones do not.
    pub before: u64,
    /// The length of what was written for them.
    pub after: u64,
}

impl Store {
    /// Stores the tensors of the packed files of a namespace, or of a repository, at another level,
    /// where they are not.
    ///
    /// # Errors
    /// [`crate::Error::NoRepo`], and those of reading and storing.
    pub fn repack(
        &self,
        namespace: &str,
        repo: Option<&RepoName>,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<Repacked> {
        let (lease, marked) = self.begin_repack(namespace, repo)?;
        let mut done = Repacked::default();
        let Some(marked) = marked else { return Ok(done) };
        let of = marked.files(|commit| repo.is_none_or(|repo| commit.repo == repo.to_string()));
        let wanted: HashSet<_> = of.map(|file| file.sha256).collect();
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_by_key(|digest| digest.0);
        let name = level.name();
        // Differences stay: at any level they take less than what stands alone.
        let accept = |stored: &Stored| {
            stored.ground.is_some() || stored.level == name && stored.encoder == ENCODER
        };
        let mut stage = Stage::new(self, namespace, &lease, level, &accept, progress)?;
        for sha256 in wanted {
            let Some((_, recipe)) = marked.recipes.get(&sha256) else { continue };
            if recipe.packed.is_none() {
                continue;
            }
            let kept = stage.add_packed(
                &Original::open(self, namespace, recipe)?,
                Bases::default(),
                &HashSet::new(),
            )?;
            let Some(after) = stage.recipe_of(kept.sha256).cloned() else { continue };
            stage.leave(recipe, &after)?;
            let before: HashSet<_> = recipe.locations().collect();
            let after: HashSet<_> = after.locations().collect();
            done.files += 1;
            done.before += before.difference(&after).map(|place| place.len).sum::<u64>();
        }
        stage.name_recipes(lease.now());
        let written = stage.write(None, &lease).and_then(|()| lease.check(namespace));
        stage.settle(written, &lease)?;
        done.after = stage.written();
        Ok(done)
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
