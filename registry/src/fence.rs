//! Fences: the collector ends the leases of writers that it has given up on, so that nothing that
//! they are about to append comes any more.
//!
//! A writer may sleep between its last look at its lease and the entry that it sends, or the entry
//! may be on its way. So the collector appends an entry that changes nothing to each log that the
//! writer has claimed: an entry that comes before it is seen by the mark, and all that it names is
//! kept; one that comes after it finds its number taken, and its writer looks at the lease again.

use std::time::SystemTime;

use crate::entry::{Action, Entry, State};
use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Leases;
use crate::log::{self, Appended, Head, append};
use crate::name::RepoName;
use crate::store::Store;

impl Store {
    /// Ends the leases that have ended. Returns the logs that are damaged, and have no fence: their
    /// claims stay for another run.
    pub(crate) fn end_leases(
        &self,
        leases: &Leases,
        now: SystemTime,
    ) -> Result<Vec<(String, Error)>> {
        let mut remains = leases.end(&self.objects)?;
        let mut unfenced = Vec::new();
        for (log, claims) in remains.claims {
            match self.fence(&log, now) {
                Err(error) if error.is_integrity() => unfenced.push((log, error)),
                done => {
                    done?;
                    remains.others.extend(claims);
                }
            }
        }
        // Only then: whoever finds no claim goes on.
        self.objects.delete(&remains.others)?;
        Ok(unfenced)
    }

    /// Appends an entry to a log that changes nothing.
    fn fence(&self, log: &str, now: SystemTime) -> Result<()> {
        // Nobody appends to a log of another name.
        let Some((repo, birth)) = named(log) else { return Ok(()) };
        let listed = self.objects.list(log)?;
        let last = listed.last().map(|meta| Head::at(&self.objects, &meta.key));
        let mut last = last.transpose()?;
        loop {
            let entry = match &last {
                Some(last) if last.entry.state == State::Ended => return Ok(()),
                // Nothing has changed: the repository is as old as it was.
                Some(last) => Entry {
                    time: last.entry.time.clone(),
                    ..last.next(Action::Fence, &self.actor, now)
                },
                // The first one would make a repository: the next one of that name has another log.
                None => {
                    let first = log::first(&repo, &self.actor, now);
                    Entry { action: Action::Fence, state: State::Ended, ..first }
                }
            };
            match append(&self.objects, log, birth, &entry)? {
                Appended::Done(_) => return Ok(()),
                Appended::Behind(found) => last = Some(found),
            }
        }
    }
}

/// Returns the name that a log is of, and which repository of that name.
fn named(log: &str) -> Option<(RepoName, u32)> {
    let repo: RepoName = keys::repo_of(log)?.parse().ok()?;
    let birth = log.strip_prefix(&keys::name(&repo))?.strip_prefix('/')?;
    let birth = birth.strip_suffix("/log")?.parse().ok()?;
    (keys::log(&repo, birth) == log).then_some((repo, birth))
}
