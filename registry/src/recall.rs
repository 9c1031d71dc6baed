//! What a process remembers of logs, so that it need not list or read them again: their last
//! entries, and their commits, which never change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::Digest;
use at1w_remote::Objects;

use crate::entry::Ref;
use crate::error::Result;
use crate::keys;
use crate::log::{self, Head};
use crate::name::RepoName;

/// How long a log is looked at by the number of its next entry alone. Afterwards it is listed
/// again: all of it may be gone.
const LISTED: Duration = Duration::from_secs(60);

/// The number of entries that are followed one by one.
const STEPS: usize = 16;

/// The number of last entries that are remembered.
const HEADS: usize = 1024;

/// The number of commits that are remembered.
const COMMITS: usize = 200_000;

/// The memory of a process.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    /// By the place of all logs of a name: the last entry, and when they were listed.
    heads: Mutex<HashMap<String, (Instant, Head)>>,
    /// By log.
    commits: Mutex<HashMap<String, Arc<Known>>>,
}

/// The commits of a log up to an entry.
#[derive(Clone, Debug)]
struct Known {
    last: u64,
    /// The SHA-256 of that entry.
    digest: Digest,
    refs: BTreeMap<String, Ref>,
}

impl Recall {
    /// Finds the last entry of the repository that has a name; `None` if there never was one.
    pub(crate) fn head(&self, objects: &Objects, repo: &RepoName) -> Result<Option<Head>> {
        let name = keys::name(repo);
        let lock = || self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&name).cloned();
        let known = known.filter(|(since, head)| since.elapsed() < LISTED && head.is_live());
        let (since, head) = match known {
            Some((since, head)) => match follow(objects, head)? {
                Some(head) => (since, Some(head)),
                None => (Instant::now(), Head::find(objects, repo)?),
            },
            None => (Instant::now(), Head::find(objects, repo)?),
        };
        if let Some(head) = &head {
            let mut heads = lock();
            if heads.len() >= HEADS {
                heads.clear();
            }
            heads.insert(name, (since, head.clone()));
        }
        Ok(head)
    }

    /// Returns the commits of a log whose names begin with some digits: at most two.
    pub(crate) fn commits(&self, objects: &Objects, head: &Head, digits: &str) -> Result<Vec<Ref>> {
        let known = self.known(objects, head)?;
        let found = known.refs.range(digits.to_owned()..);
        let found = found.take_while(|(id, _)| id.starts_with(digits)).take(2);
        // Those of later entries may have come in the meantime.
        Ok(found
            .map(|(_, found)| found.clone())
            .filter(|found| found.seq <= head.entry.seq)
            .collect())
    }

    fn known(&self, objects: &Objects, head: &Head) -> Result<Arc<Known>> {
        let lock = || self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lock().get(&head.log).cloned();
        if let Some(known) = before.as_ref().filter(|known| known.last >= head.entry.seq) {
            return Ok(Arc::clone(known));
        }
        let known = match before.map(|before| before.extended(objects, head)).transpose()? {
            Some(Some(known)) => known,
            _ => Known::read(objects, head)?,
        };
        let known = Arc::new(known);
        let mut all = lock();
        let count = all.values().map(|known| known.refs.len()).sum::<usize>();
        if count + known.refs.len() > COMMITS {
            all.clear();
        }
        all.insert(head.log.clone(), Arc::clone(&known));
        Ok(known)
    }
}

/// Follows a log to its last entry by the numbers of the next ones; `None` if these are many.
fn follow(objects: &Objects, mut head: Head) -> Result<Option<Head>> {
    for _ in 0..STEPS {
        let key = keys::entry(&head.log, head.entry.seq + 1);
        match objects.get(&key)? {
            Some(bytes) => head = Head::of(&key, &bytes)?,
            None => return Ok(Some(head)),
        }
    }
    Ok(None)
}

impl Known {
    /// Reads a log, and checks that each entry follows the one before.
    fn read(objects: &Objects, head: &Head) -> Result<Self> {
        let (bytes, entries) = log::read_chain(objects, &head.log, head.entry.seq)?;
        let commits = entries.iter().filter_map(|entry| Some((entry.commit.as_ref()?, entry.seq)));
        let refs = commits.map(|(commit, seq)| (commit.id.clone(), Ref::to(commit, seq))).collect();
        let digest = bytes.last().map_or(head.digest, |bytes| Digest::of(bytes));
        Ok(Self { last: head.entry.seq, digest, refs })
    }

    /// Adds the entries of the log since; `None` if they do not follow.
    fn extended(&self, objects: &Objects, head: &Head) -> Result<Option<Self>> {
        let keys = (self.last + 1..=head.entry.seq).map(|seq| keys::entry(&head.log, seq));
        let keys: Vec<_> = keys.collect();
        let mut known = self.clone();
        for (key, bytes) in keys.iter().zip(objects.get_all(&keys)?) {
            let Some(bytes) = bytes else { return Ok(None) };
            let next = Head::of(key, &bytes)?;
            if next.entry.prev != known.digest {
                return Ok(None);
            }
            (known.last, known.digest) = (next.entry.seq, next.digest);
            if let Some(commit) = &next.entry.commit {
                known.refs.insert(commit.id.clone(), Ref::to(commit, next.entry.seq));
            }
        }
        Ok(Some(known))
    }
}
