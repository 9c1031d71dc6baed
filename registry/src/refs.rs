//! Branches and tags, removing and restoring.

use std::collections::HashSet;

use crate::entry::{Action, Entry, Ref, State};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits, tips};
use crate::keys;
use crate::lease::Lease;
use crate::log::{self, Appended, Head};
use crate::name::{RepoName, Revision, check_ref};
use crate::proposal::proposal_number;
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tree::Tree;
use crate::view::condemned;

/// The number of branches and tags of a repository: each entry of its log has all of them.
const REFS: usize = 10_000;

/// The length of the name of a commit.
const COMMIT_LEN: usize = 40;

impl Store {
    /// Makes a tag for a revision. A tag is never moved.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Name`], [`Error::NoRevision`], [`Error::Collected`].
    pub fn tag(&self, revision: &Revision, tag: &str) -> Result<Ref> {
        self.add_ref(revision, tag, Action::Tag)
    }

    /// Makes a branch that begins at a revision.
    ///
    /// # Errors
    /// As [`Store::tag`].
    pub fn branch(&self, revision: &Revision, branch: &str) -> Result<Ref> {
        self.add_ref(revision, branch, Action::Branch)
    }

    fn add_ref(&self, revision: &Revision, name: &str, action: Action) -> Result<Ref> {
        check_ref(name)?;
        check_free(name)?;
        check_no_commit(name)?;
        let repo = &revision.repo;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, action, &lease, |head, entry| {
            if entry.branches.contains_key(name) || entry.tags.contains_key(name) {
                return Err(Error::Exists(format!("{repo}@{name}")));
            }
            let found = self.resolve(head, repo, revision.name())?;
            // A commit that no ref leads to may be on its way out.
            self.check_kept(repo, head, &found)?;
            check_room(entry)?;
            let refs = if action == Action::Tag { &mut entry.tags } else { &mut entry.branches };
            refs.insert(name.into(), found.clone());
            Ok(found)
        })
    }

    /// Removes a branch or a tag, or the whole repository where the revision names none. What was
    /// removed can be restored until it is collected.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], and [`Error::Name`] for the branch of a proposal.
    pub fn remove(&self, revision: &Revision) -> Result<()> {
        revision.revision.as_deref().map_or(Ok(()), check_free)?;
        let repo = &revision.repo;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, Action::Remove, &lease, |_, entry| {
            match &revision.revision {
                None => entry.state = State::Deleted,
                Some(name) => {
                    let removed = entry.branches.remove(name).or_else(|| entry.tags.remove(name));
                    removed.ok_or_else(|| Error::NoRevision {
                        repo: repo.to_string(),
                        revision: name.clone(),
                    })?;
                }
            }
            Ok(())
        })
    }

    /// Restores a repository that was removed; where the revision names a branch or a tag, that
    /// one.
    ///
    /// # Errors
    /// [`Error::Collected`] if its content is being collected, [`Error::NoRepo`],
    /// [`Error::NoRevision`], [`Error::Exists`] if it was not removed, and [`Error::Name`] for the
    /// branch of a proposal.
    pub fn restore(&self, revision: &Revision) -> Result<()> {
        revision.revision.as_deref().map_or(Ok(()), check_free)?;
        let repo = &revision.repo;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let Some(name) = &revision.revision else {
            return self.restore_repo(repo, &lease);
        };
        self.edit(repo, Action::Restore, &lease, |head, entry| {
            if entry.branches.contains_key(name) || entry.tags.contains_key(name) {
                return Err(Error::Exists(format!("{repo}@{name}")));
            }
            let entries = log::read_all(&self.objects, &head.log, head.entry.seq)?;
            let was = |entry: &Entry| {
                let branch = entry.branches.get(name).map(|found| (true, found.clone()));
                branch.or_else(|| Some((false, entry.tags.get(name)?.clone())))
            };
            let (branch, found) = entries.iter().rev().find_map(was).ok_or_else(|| {
                Error::NoRevision { repo: repo.to_string(), revision: name.clone() }
            })?;
            self.check_kept(repo, head, &found)?;
            let refs = if branch { &mut entry.branches } else { &mut entry.tags };
            refs.insert(name.clone(), found);
            Ok(())
        })
    }

    fn restore_repo(&self, repo: &RepoName, lease: &Lease) -> Result<()> {
        loop {
            let none = || Error::NoRepo { repo: repo.to_string(), hint: String::new() };
            let last = Head::find(&self.objects, repo)?.ok_or_else(none)?;
            let head = self.last_of(repo, last.clone())?.ok_or_else(none)?;
            head.check_spelling(repo)?;
            if head.is_live() {
                return Err(Error::Exists(repo.to_string()));
            }
            for found in head.entry.branches.values().chain(head.entry.tags.values()) {
                self.check_kept(repo, &head, found)?;
            }
            if last.entry.state == State::Ended {
                // Whoever ended the log to take its name has not done so. Nothing follows an end.
                let source = (head.log, head.entry.seq);
                return self.copy_log(&source, repo, Action::Restore, lease);
            }
            let mut entry = head.next(Action::Restore, &self.actor, lease.now());
            entry.state = State::Live;
            let appended = self.append_recorded(lease, (&head.log, head.birth), &entry)?;
            if let Appended::Done(_) = appended {
                return Ok(());
            }
        }
    }

    /// Returns the last entry of the last repository that had a name.
    fn last_of(&self, repo: &RepoName, mut last: Head) -> Result<Option<Head>> {
        while last.entry.is_of_none() {
            let Some(birth) = last.birth.checked_sub(1) else { return Ok(None) };
            let listed = self.objects.list(&keys::log(repo, birth))?;
            let Some(meta) = listed.last() else { return Ok(None) };
            last = Head::at(&self.objects, &meta.key)?;
        }
        Ok(Some(last))
    }

    /// Appends a change of the last entry of a repository, made again after whatever others append.
    pub(crate) fn edit<T>(
        &self,
        repo: &RepoName,
        action: Action,
        lease: &Lease,
        change: impl Fn(&Head, &mut Entry) -> Result<T>,
    ) -> Result<T> {
        let mut head = self.head(repo)?;
        loop {
            head.check_spelling(repo)?;
            let mut entry = head.next(action, &self.actor, lease.now());
            let outcome = change(&head, &mut entry)?;
            match self.append_recorded(lease, (&head.log, head.birth), &entry)? {
                Appended::Done(_) => return Ok(outcome),
                Appended::Behind(known) => {
                    head = Head::find_after(&self.objects, repo, known)?;
                    if !head.is_live() {
                        let hint = ": it was removed a moment ago".into();
                        return Err(Error::NoRepo { repo: repo.to_string(), hint });
                    }
                }
            }
        }
    }

    /// Checks that nothing of a revision and of those before it is collected, or condemned to be.
    pub(crate) fn check_kept(&self, repo: &RepoName, head: &Head, found: &Ref) -> Result<()> {
        if head.is_live() && tips(&head.entry).any(|commit| commit == found.commit) {
            return Ok(());
        }
        let namespace = &repo.namespace;
        let collected = || Error::Collected(format!("{repo}@{}", found.commit));
        let entries = log::read_all(&self.objects, &head.log, head.entry.seq)?;
        let commits = commits(&entries);
        let condemned = condemned(&self.objects, namespace)?;
        let mut files = HashSet::new();
        for commit in ancestors(&commits, std::iter::once(found.commit.as_str())) {
            let tree = match Tree::read(&self.objects, namespace, commit.tree, &commit.copy) {
                Err(Error::Damaged { .. }) => return Err(collected()),
                tree => tree?,
            };
            let copies = self.objects.list(&keys::tree(namespace, commit.tree))?;
            if copies.iter().all(|meta| condemned.contains(&meta.key)) {
                return Err(collected());
            }
            files.extend(tree.files.values().map(|file| file.sha256));
        }
        let mut packs = HashSet::new();
        for sha256 in files {
            let newest = Recipe::newest(&self.objects, namespace, sha256)?;
            let (name, recipe) = newest.ok_or_else(collected)?;
            let key = format!("{}/{name}", keys::recipes(namespace, sha256));
            if condemned.contains(&key) {
                return Err(collected());
            }
            packs.extend(recipe.packs.into_iter().map(|pack| pack.id));
        }
        for pack in packs {
            let key = keys::pack(namespace, &pack);
            if condemned.contains(&key) || self.objects.head(&key)?.is_none() {
                return Err(collected());
            }
        }
        Ok(())
    }
}

/// Checks that the name of a new branch or tag is not one that a commit has: whoever names a commit
/// gets that, and nothing else.
pub(crate) fn check_no_commit(name: &str) -> Result<()> {
    if name.len() == COMMIT_LEN && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let problem = "looks like a commit, and is no name of a branch or a tag".into();
        return Err(Error::Name { name: name.into(), problem });
    }
    Ok(())
}

/// Checks that a repository may have one more branch or tag.
pub(crate) fn check_room(entry: &Entry) -> Result<()> {
    if entry.branches.len() + entry.tags.len() < REFS {
        return Ok(());
    }
    let repo = &entry.name;
    Err(Error::Full(format!("{repo} has {REFS} branches and tags: remove what is not needed")))
}

/// Checks that a branch is not that of a proposal: it begins and ends with it.
fn check_free(name: &str) -> Result<()> {
    if proposal_number(name).is_none() {
        return Ok(());
    }
    let problem = "is the branch of a pull request, which is opened, closed and merged".into();
    Err(Error::Name { name: name.into(), problem })
}
