//! Commits of single changes: files that are added, taken from what is stored, or removed.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use at1w_container::{Digest, Level, Progress};

use crate::entry::{Action, Commit, Entry, Ref};
use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::log::Head;
use crate::name::{RepoName, check_namespace, check_path, check_ref};
use crate::original::Original;
use crate::push::{Changes, PushOptions, Pushed};
use crate::recipe::Recipe;
use crate::stage::{Stage, tree_file};
use crate::store::{Caller, Store};
use crate::tree::{File, Tree};
use crate::view::Doubts;
use crate::walk::SourceFile;

/// A change of the file at a path.
#[derive(Clone, Debug)]
pub enum Change {
    /// Its content becomes that of a local file.
    Add(PathBuf),
    /// Its content becomes that of a file that the namespace stores.
    Stored(Digest),
    /// It is removed.
    Remove,
    /// Everything under it is removed.
    RemoveFolder,
}

impl Store {
    /// Returns the same store, whose entries name another writer.
    #[must_use]
    pub fn acting_as(&self, actor: &str) -> Self {
        let (objects, runs) = (Arc::clone(&self.objects), Arc::clone(&self.runs));
        let (recorder, caller) = (Arc::clone(&self.recorder), self.caller.clone());
        let (recall, times, limits) = (self.recall.clone(), self.times, self.limits);
        Self { objects, runs, recall, times, limits, actor: actor.into(), recorder, caller }
    }

    /// Returns the same store, whose usage records name a request and the id of its token.
    #[must_use]
    pub fn for_request(self, request: &str, token: Option<&str>) -> Self {
        let (request, token) = (Some(request.into()), token.map(str::to_owned));
        Self { caller: Caller { request, token }, ..self }
    }

    /// Returns the last entry of a repository: its branches, its tags and its settings.
    ///
    /// # Errors
    /// [`Error::NoRepo`], and those of the store.
    pub fn entry(&self, repo: &RepoName) -> Result<Entry> {
        Ok(self.head(repo)?.entry)
    }

    /// Reads the tree of a branch, a tag or a commit of a namespace.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the store.
    pub fn tree_of(&self, namespace: &str, found: &Ref) -> Result<Tree> {
        Tree::read(&self.objects, namespace, found.tree, &found.copy)
    }

    /// Reads the tree of a commit of a namespace.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the store.
    pub fn tree_of_commit(&self, namespace: &str, commit: &Commit) -> Result<Tree> {
        Tree::read(&self.objects, namespace, commit.tree, &commit.copy)
    }

    /// Makes a repository private, or readable for everybody who may read the store.
    ///
    /// # Errors
    /// [`Error::NoRepo`], and those of the store.
    pub fn set_private(&self, repo: &RepoName, private: bool) -> Result<()> {
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, Action::Settings, &lease, |_, entry| {
            entry.private = private;
            Ok(())
        })
    }

    /// Stores a local file in a namespace, of which no commit knows yet: [`Change::Stored`] makes
    /// it part of one. Until then the collector treats it like a file that was removed. The name
    /// tells whether it may hold weights.
    ///
    /// # Errors
    /// Those of reading and storing.
    pub fn store_file(
        &self,
        namespace: &str,
        name: &str,
        source: &Path,
        level: Level,
        progress: &dyn Progress,
    ) -> Result<File> {
        check_namespace(namespace)?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let mut stage = Stage::new(self, namespace, &lease, level, &|_| true, progress)?;
        let added =
            stage.add_all(&[SourceFile::new(name.into(), source.into())?], &Tree::default())?;
        stage.name_recipes(lease.now());
        let written = stage.write(None, &lease).and_then(|()| lease.check(name));
        stage.settle(written, &lease)?;
        let file = added.into_iter().next().map(|(_, file)| file);
        file.ok_or_else(|| Error::damaged(name, "it was stored and is not there"))
    }

    /// Returns the facts about a file that a namespace stores; `None` where it stores none that a
    /// commit may rely on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn find_file(&self, namespace: &str, sha256: Digest) -> Result<Option<File>> {
        check_namespace(namespace)?;
        let find = || {
            let Some((name, recipe)) = Recipe::newest(&self.objects, namespace, sha256)? else {
                return Ok(None);
            };
            if !self.is_whole(namespace, &name, &recipe)? {
                return Ok(None);
            }
            let original = Original::open(self, namespace, &recipe)?;
            tree_file(&recipe, &original).map(Some)
        };
        // One that is damaged is sent again, and healed by that.
        match find() {
            Err(error) if error.is_integrity() => Ok(None),
            found => found,
        }
    }

    /// Whether a recipe may be relied on: nothing that it names is missing, damaged or condemned.
    fn is_whole(&self, namespace: &str, name: &str, recipe: &Recipe) -> Result<bool> {
        if !Doubts::load(&self.objects, namespace)?.spare(namespace, name, recipe) {
            return Ok(false);
        }
        for pack in &recipe.packs {
            let there = self.objects.head(&keys::pack(namespace, &pack.id))?;
            if there.is_none_or(|meta| meta.len != pack.len) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Commits changes of single files to a branch. Makes the repository if there is none.
    ///
    /// # Errors
    /// As [`Store::push`]; [`Error::NoFile`] for a file that is to be removed and is not there, or
    /// that is said to be stored and is not.
    pub fn apply(
        &self,
        repo: &RepoName,
        changes: &[(String, Change)],
        options: &PushOptions<'_>,
    ) -> Result<Pushed> {
        check_ref(options.branch)?;
        changes.iter().try_for_each(|(path, change)| match change {
            Change::RemoveFolder => check_path(path.trim_end_matches('/')),
            _ => check_path(path),
        })?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let head = Head::find(&self.objects, repo)?;
        self.check_same(head.as_ref(), repo, options.of)?;
        if let Some(commit) = head.as_ref().and_then(|head| head.entry.done_for(options.request)) {
            return Ok(Pushed::before(commit));
        }
        let base = self.base(repo, head.as_ref(), options)?;
        let namespace = &repo.namespace;
        let level = options.level;
        let mut stage = Stage::new(self, namespace, &lease, level, &|_| true, options.progress)?;
        let missing = |path: &str| Error::NoFile { repo: repo.to_string(), path: path.into() };
        let (mut local, mut files, mut removed) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut folders = HashSet::new();
        for (path, change) in changes {
            match change {
                Change::Add(source) => local.push(SourceFile::new(path.clone(), source.clone())?),
                Change::Stored(sha256) => {
                    let stored = stage.add_stored(*sha256)?;
                    files.push((path.clone(), stored.ok_or_else(|| missing(path))?));
                }
                Change::Remove => {
                    let there = base.1.files.contains_key(path);
                    removed.insert(there.then_some(path).ok_or_else(|| missing(path))?);
                }
                Change::RemoveFolder => {
                    let folder = format!("{}/", path.trim_end_matches('/'));
                    let within = base.1.files.range(folder.clone()..).map(|(path, _)| path);
                    // A folder that is named again costs nothing.
                    if folders.insert(folder.clone()) {
                        removed.extend(within.take_while(|path| path.starts_with(&folder)));
                    }
                }
            }
        }
        files.extend(stage.add_all(&local, &base.1)?);
        let removed = removed.into_iter().cloned().collect();
        let changes = Changes { repo, branch: options.branch, base, files, removed, delete: false };
        self.finish(head, changes, &lease, stage, options)
    }
}
