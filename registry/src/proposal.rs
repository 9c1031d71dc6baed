//! Proposals: changes on a branch of their own, which wait to become part of `main`.

use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::entry::{Action, Entry, Ref};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits};
use crate::lease::Lease;
use crate::log;
use crate::name::{MAIN, RepoName};
use crate::push::{PushOptions, Pushed};
use crate::store::Store;
use crate::time::rfc3339;
use crate::tree::Tree;

/// The longest title, and the longest description, in bytes. Each entry of a log repeats them.
const MAX_LEN: (usize, usize) = (256, 4096);

/// How the names of the branches of proposals begin.
const PREFIX: &str = "refs-pr-";

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proposal {
    /// What it is about, in a few words.
    pub title: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The one who made it.
    pub author: String,
    /// The time at which it was made, in RFC 3339.
    pub time: String,
    /// What became of it.
    pub status: Status,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// It waits on its branch.
    Open,
    /// It was refused. It can be opened again until its commits, of which this is the last one,
    /// are collected; not where its branch was removed before.
    Closed(Option<Ref>),
    /// It is part of `main` since this commit.
    Merged(String),
}

impl Proposal {
    /// Makes a proposal that is open.
    ///
    /// # Errors
    /// [`Error::Name`] where the title or the description is too long.
    pub fn new(title: &str, description: &str, author: &str) -> Result<Self> {
        check(title, MAX_LEN.0)?;
        check(description, MAX_LEN.1)?;
        Ok(Self {
            title: title.into(),
            description: description.into(),
            author: author.into(),
            time: rfc3339(SystemTime::now()),
            status: Status::Open,
        })
    }
}

fn check(text: &str, most: usize) -> Result<()> {
    if text.len() <= most {
        return Ok(());
    }
    let name = format!("{}...", text.chars().take(40).collect::<String>());
    Err(Error::Name { name, problem: format!("is too long: at most {most} bytes are kept") })
}

/// Returns the branch of a proposal.
pub fn proposal_branch(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// Returns the number of the proposal that a branch is of.
pub fn proposal_number(branch: &str) -> Option<u64> {
    branch.strip_prefix(PREFIX)?.parse().ok()
}

impl Entry {
    /// Returns the number for the next proposal, which no other one has had.
    pub fn next_proposal(&self) -> u64 {
        let branches = self.branches.keys().filter_map(|name| proposal_number(name));
        branches.chain(self.proposals.keys().copied()).max().unwrap_or(0) + 1
    }
}

/// Finds a proposal that is open.
fn open<'a>(
    proposals: &'a mut BTreeMap<u64, Proposal>,
    repo: &RepoName,
    number: u64,
) -> Result<&'a mut Proposal> {
    let missing =
        || Error::NoRevision { repo: repo.to_string(), revision: proposal_branch(number) };
    let found = proposals.get_mut(&number).ok_or_else(missing)?;
    match &found.status {
        Status::Open => Ok(found),
        _ => Err(Error::Exists(format!("{repo}: proposal {number} was closed or merged"))),
    }
}

/// Notes in an entry that it brings the changes of a proposal, if its branch is still at a commit.
pub(crate) fn merged(
    entry: &mut Entry,
    repo: &RepoName,
    (number, at): (u64, &str),
    commit: &str,
) -> Result<()> {
    let branch = proposal_branch(number);
    let proposal = open(&mut entry.proposals, repo, number)?;
    if entry.branches.get(&branch).is_none_or(|found| found.commit != at) {
        let what = "it has changed since".into();
        return Err(Error::Conflict { repo: repo.to_string(), branch, parent: at.into(), what });
    }
    proposal.status = Status::Merged(commit.into());
    entry.branches.remove(&branch);
    Ok(())
}

/// Undoes in an entry what a commit that is taken back has done to proposals: it has opened one
/// with its branch, or has merged one.
pub(crate) fn taken_back(entry: &mut Entry, before: &Entry, branch: &str, commit: &str) {
    if let Some(number) = proposal_number(branch).filter(|_| !before.branches.contains_key(branch))
    {
        entry.proposals.remove(&number);
    }
    for (number, proposal) in &mut entry.proposals {
        let branch = proposal_branch(*number);
        if proposal.status == Status::Merged(commit.into())
            && let (Some(old), Some(at)) =
                (before.proposals.get(number), before.branches.get(&branch))
        {
            proposal.clone_from(old);
            entry.branches.insert(branch, at.clone());
        }
    }
}

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
        check(title, MAX_LEN.0)?;
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
