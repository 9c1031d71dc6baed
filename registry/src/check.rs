//! Checking that a place can hold a store that several share, and that its logs are whole.

use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use at1w_remote::{Created, Objects};

use crate::error::{Error, Result};
use crate::keys;
use crate::log::{self, Appended, append, check_chain};
use crate::name::RepoName;
use crate::store::Store;

/// The number of writers in the race, and of entries of each.
const WRITERS: usize = 8;
const ENTRIES: usize = 10;

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Checked {
    /// The number of logs that were read, all of them whole.
    pub logs: u64,
    /// The number of entries in them.
    pub entries: u64,
    /// The number of entries that several writers appended to one log, none of them lost.
    pub raced: u64,
}

impl Store {
    /// Checks that the place is fit for several writers, and that all logs are whole.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a place where writers lose entries, [`Error::Log`], and those of the
    /// store.
    pub fn check(&self) -> Result<Checked> {
        self.require()?;
        let raced = self.check_race()?;
        let mut done = Checked { raced, ..Checked::default() };
        let listed = self.objects.list(keys::REPOS)?;
        for log in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
            let folder = keys::parent(&log[0].key);
            let last = log::last_of(folder, log)?;
            let keys: Vec<_> = (0..=last).map(|seq| keys::entry(folder, seq)).collect();
            let bytes = self.objects.get_all(&keys)?;
            let entries = check_chain(folder, bytes.iter().map(|bytes| bytes.as_deref()))?;
            done.logs += 1;
            done.entries += entries.len() as u64;
        }
        Ok(done)
    }

    /// Has several writers append to one log at once, and checks that no entry is lost: what
    /// several servers that share a store rely on. Returns the number of entries.
    ///
    /// # Errors
    /// [`Error::Unfit`], and those of the store.
    pub fn check_race(&self) -> Result<u64> {
        let folder = format!("{}/{}", keys::PROBES, keys::random());
        let log = format!("{folder}/0000/log");
        let raced = race(&self.objects, &log);
        let listed = self.objects.list(&folder)?;
        self.objects.delete(&listed.into_iter().map(|meta| meta.key).collect::<Vec<_>>())?;
        raced
    }
}

fn race(objects: &Arc<Objects>, log: &str) -> Result<u64> {
    let unfit = |problem: &str| Error::Unfit(format!("{}: {problem}", objects.address()));
    let once = format!("{log}-once");
    objects.create(&once, "one")?;
    if objects.create(&once, "two")? != Created::Existed {
        objects.delete(&[once])?;
        return Err(unfit(
            "makes an object a second time that is there already: it can hold no store (a \
             directory needs a file system with hard links)",
        ));
    }
    objects.delete(&[once])?;
    let writers: Vec<Result<Vec<String>>> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(objects, log, writer))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|ids| ids.unwrap_or_else(|_| Err(unfit("a writer ended")))).collect()
    });
    let acknowledged: Vec<_> = writers.into_iter().collect::<Result<Vec<_>>>()?.concat();
    // Writers that are given up are kept away by what a list says.
    if objects.list(log)?.len() != acknowledged.len() {
        return Err(unfit("does not list what was written a moment ago: it can hold no store"));
    }
    let last = acknowledged.len() as u64 - 1;
    let entries = log::read_all(objects, log, last)?;
    let lost = acknowledged.iter().filter(|id| !entries.iter().any(|entry| entry.id == **id));
    match lost.count() {
        0 => Ok(acknowledged.len() as u64),
        lost => Err(unfit(&format!(
            "lost {lost} of {} entries that it had acknowledged: no two writers may share it",
            acknowledged.len()
        ))),
    }
}

/// Appends entries to a log, each after whatever others have appended; returns their names.
fn write(objects: &Objects, log: &str, writer: usize) -> Result<Vec<String>> {
    let repo = RepoName::new("probe", "race")?;
    let mut ids = Vec::with_capacity(ENTRIES);
    let mut entry = log::first(&repo, &format!("writer {writer}"), SystemTime::now());
    while ids.len() < ENTRIES {
        let id = entry.id.clone();
        let head = match append(objects, log, 0, &entry)? {
            Appended::Done(head) => {
                ids.push(id);
                head
            }
            Appended::Behind(head) => head,
        };
        entry = head.next(crate::Action::Push, &entry.actor, SystemTime::now());
    }
    Ok(ids)
}
