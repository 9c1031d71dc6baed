//! Making proposals, closing, opening again and merging them.

use std::collections::{BTreeMap, HashSet};

use crate::change::Change;
use crate::entry::{Action, Proposal, Ref, Status};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits};
use crate::lease::Lease;
use crate::log;
use crate::name::{MAIN, RepoName};
use crate::proposal::{check_title, open, proposal_branch};
use crate::push::{PushOptions, Pushed};
use crate::refs::check_room;
use crate::store::Store;
use crate::tree::Tree;

/// The number of open proposals of a repository, and of those that keep their descriptions.
const MANY: usize = 1_000;

impl Store {
    /// Makes a proposal without changes, on a branch that begins where a branch is; returns its
    /// number.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], and those of the store.
    pub fn propose(&self, repo: &RepoName, from: &str, proposal: &Proposal) -> Result<u64> {
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, Action::Branch, &lease, |head, entry| {
            let found = self.resolve(head, repo, from)?;
            self.check_kept(repo, head, &found)?;
            check_room(entry)?;
            make_room(repo, &mut entry.proposals)?;
            let number = entry.next_proposal();
            entry.branches.insert(proposal_branch(number), found);
            entry.proposals.insert(number, proposal.clone());
            Ok(number)
        })
    }

    /// Gives a proposal another title; returns the one before.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoRepo`], [`Error::NoRevision`], and those of the store.
    pub fn retitle(&self, repo: &RepoName, number: u64, title: &str) -> Result<String> {
        check_title(title)?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, Action::Settings, &lease, |_, entry| {
            let proposal = open(&mut entry.proposals, repo, number)?;
            Ok(std::mem::replace(&mut proposal.title, title.into()))
        })
    }

    /// Closes a proposal: its branch is removed.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], [`Error::Exists`] where it is not open any more,
    /// and those of the store.
    pub fn close(&self, repo: &RepoName, number: u64) -> Result<()> {
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, Action::Remove, &lease, |_, entry| {
            let proposal = open(&mut entry.proposals, repo, number)?;
            proposal.status = Status::Closed(entry.branches.remove(&proposal_branch(number)));
            Ok(())
        })
    }

    /// Opens a proposal that was closed.
    ///
    /// # Errors
    /// [`Error::Collected`] if its commits are being collected, [`Error::Exists`] where it is not
    /// closed, and those of [`Store::close`].
    pub fn reopen(&self, repo: &RepoName, number: u64) -> Result<()> {
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        self.edit(repo, Action::Restore, &lease, |head, entry| {
            let branch = proposal_branch(number);
            let missing = || Error::NoRevision { repo: repo.to_string(), revision: branch.clone() };
            let proposal = entry.proposals.get_mut(&number).ok_or_else(missing)?;
            let Status::Closed(last) = proposal.status.clone() else {
                return Err(Error::Exists(format!("{repo}: proposal {number}")));
            };
            let last = last.ok_or_else(missing)?;
            self.check_kept(repo, head, &last)?;
            proposal.status = Status::Open;
            entry.branches.insert(branch, last);
            Ok(())
        })
    }

    /// Makes the changes of a proposal on `main`, as one commit, and removes its branch.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody else changed the same files on `main`, and those of
    /// [`Store::close`].
    pub fn merge(&self, repo: &RepoName, number: u64, options: &PushOptions<'_>) -> Result<Pushed> {
        let mut head = self.head(repo)?;
        open(&mut head.entry.proposals, repo, number)?;
        let branch = proposal_branch(number);
        let (ours, main) = (self.resolve(&head, repo, &branch)?, self.resolve(&head, repo, MAIN)?);
        let entries = log::read_all(&self.objects, &head.log, head.entry.seq)?;
        let commits = commits(&entries);
        let before = |commit: &str| {
            let all = ancestors(&commits, std::iter::once(commit));
            all.into_iter().map(|commit| commit.id.clone()).collect::<Vec<_>>()
        };
        let shared: HashSet<_> = before(&main.commit).into_iter().collect();
        let base = before(&ours.commit).into_iter().find(|commit| shared.contains(commit));
        let base = base.ok_or_else(|| Error::NoRevision {
            repo: repo.to_string(),
            revision: format!("{branch}: it has no commit that main has"),
        })?;
        let read =
            |found: &Ref| Tree::read(&self.objects, &repo.namespace, found.tree, &found.copy);
        let (old, new) = (read(&self.resolve(&head, repo, &base)?)?, read(&ours)?);
        let changed = old.changes(&new).into_iter().map(|path| {
            let file = new.files.get(path);
            (path.to_owned(), file.map_or(Change::Remove, |file| Change::Stored(file.sha256)))
        });
        let changes: Vec<_> = changed.collect();
        let options = options.branch(MAIN).parent(base.as_str());
        let options = options.merging(number, &ours.commit);
        self.apply(repo, &changes, &options)
    }
}

/// Checks that there is room for one more proposal. Each entry of the log has all of them: where
/// there are many, those that are over lose their descriptions.
fn make_room(repo: &RepoName, proposals: &mut BTreeMap<u64, Proposal>) -> Result<()> {
    let over = |proposal: &&mut Proposal| proposal.status != Status::Open;
    let (number, over) = (proposals.len(), proposals.values_mut().filter(over));
    let ended = over.map(|proposal| {
        if number >= MANY {
            proposal.description.clear();
        }
    });
    if number - ended.count() < MANY {
        return Ok(());
    }
    Err(Error::Full(format!("{repo} has {MANY} open pull requests: close or merge some")))
}
