//! Giving a repository another name within its namespace.

use at1w_container::Digest;

use crate::entry::{Action, State};
use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::log::{self, Appended, Head, append_held};
use crate::name::{RepoName, Revision};
use crate::store::Store;

impl Store {
    /// Gives a repository another name within its namespace, with all of its history. The old name
    /// is free then. A process that is killed meanwhile leaves the repository under its old name,
    /// removed: restore it.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::Exists`], [`Error::Name`], and those of the store.
    pub fn rename(&self, from: &RepoName, name: &str) -> Result<()> {
        let to = RepoName::new(&from.namespace, name)?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        if keys::name(from) == keys::name(&to) {
            return self.edit(from, Action::Rename, &lease, |_, entry| {
                entry.name = to.to_string();
                Ok(())
            });
        }
        if Head::find(&self.objects, &to)?.is_some_and(|head| head.is_live()) {
            return Err(Error::Exists(to.to_string()));
        }
        // Nobody pushes to the old name while its log is copied.
        let source = self.edit(from, Action::Rename, &lease, |head, entry| {
            entry.state = State::Deleted;
            Ok((head.log.clone(), entry.seq))
        })?;
        let copied = self.copy_log(&source, &to, Action::Rename, &lease);
        if copied.is_err() {
            // Best effort: whoever is told of the error can restore it as well.
            let _ = self.restore(&Revision { repo: from.clone(), revision: None });
        }
        copied
    }

    /// Copies the log of a repository that was removed, up to an entry, and makes the copy live.
    pub(crate) fn copy_log(
        &self,
        (log, seq): &(String, u64),
        to: &RepoName,
        action: Action,
        lease: &Lease,
    ) -> Result<()> {
        let taken = || Error::Exists(to.to_string());
        let source = log::read_all(&self.objects, log, *seq)?;
        let birth = match Head::find(&self.objects, to)? {
            None => 0,
            Some(head) => match head.entry.state {
                State::Live => return Err(taken()),
                State::Ended => head.birth + 1,
                State::Deleted => {
                    let mut end = head.next(Action::End, &self.actor, lease.now());
                    end.state = State::Ended;
                    match self.append_recorded(lease, (&head.log, head.birth), &end)? {
                        Appended::Done(_) => head.birth + 1,
                        Appended::Behind(_) => return Err(taken()),
                    }
                }
            },
        };
        let log = keys::log(to, birth);
        let (mut prev, mut last) = (Digest::of(b""), None);
        for mut entry in source {
            entry.name = to.to_string();
            entry.prev = prev;
            // Only the last entry makes it live: a copy that ends early is none.
            entry.state = State::Deleted;
            match append_held(&self.objects, lease, (&log, birth), &entry)? {
                Appended::Done(head) => {
                    prev = head.digest;
                    last = Some(head);
                }
                Appended::Behind(_) => return Err(taken()),
            }
        }
        let last: Head = last.ok_or_else(|| Error::damaged(log.clone(), "it has no entries"))?;
        let mut entry = last.next(action, &self.actor, lease.now());
        entry.state = State::Live;
        match self.append_recorded(lease, (&log, birth), &entry)? {
            Appended::Done(_) => Ok(()),
            Appended::Behind(_) => Err(taken()),
        }
    }
}
