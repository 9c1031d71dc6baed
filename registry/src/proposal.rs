//! Proposals in the entries of a log: changes on a branch of their own, which wait to become part
//! of `main`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::entry::{Entry, Proposal, Status};
use crate::error::{Error, Result};
use crate::name::RepoName;
use crate::time::rfc3339;

/// The longest title, and the longest description, in bytes. Each entry of a log repeats them.
const MAX_LEN: (usize, usize) = (256, 4096);

/// How the names of the branches of proposals begin.
const PREFIX: &str = "refs-pr-";

impl Proposal {
    /// Makes a proposal that is open.
    ///
    /// # Errors
    /// [`Error::Name`] where the title or the description is too long.
    pub fn new(title: &str, description: &str, author: &str) -> Result<Self> {
        check_title(title)?;
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

/// Checks that a title is not too long.
pub(crate) fn check_title(title: &str) -> Result<()> {
    check(title, MAX_LEN.0)
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
        branches.chain(self.proposals.keys().copied()).max().unwrap_or(0).saturating_add(1)
    }
}

/// Finds a proposal that is open.
pub(crate) fn open<'a>(
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
