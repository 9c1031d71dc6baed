//! The log of a repository: numbered entries, each made if absent, each with the hash of the one
//! before.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, SystemTime};

use at1w_container::Digest;
use at1w_remote::{Created, Meta, Objects};
use bytes::Bytes;

use crate::checkpoint;
use crate::entry::{Action, Entry, Ref, State, VERSION};
use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::name::RepoName;
use crate::sum::without_sum;
use crate::time::rfc3339;

/// The number of times that an entry is sent again while the store does not say whether it is
/// there.
const TRIES: u32 = 8;

/// The last entry of a log, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The folder of the log.
    pub(crate) log: String,
    /// Which repository of its name it is.
    pub(crate) birth: u32,
    pub(crate) entry: Entry,
    /// The SHA-256 of the entry.
    pub(crate) digest: Digest,
}

impl Head {
    /// Finds the last entry of the repository that has a name; `None` if there never was one.
    pub(crate) fn find(objects: &Objects, repo: &RepoName) -> Result<Option<Self>> {
        let listed = objects.list(&keys::name(repo))?;
        let Some(last) = listed.last() else { return Ok(None) };
        Self::at(objects, &last.key).map(Some)
    }

    /// [`Head::find`] for a caller who knows an entry of the repository: a list may be late.
    pub(crate) fn find_after(objects: &Objects, repo: &RepoName, known: Self) -> Result<Self> {
        let found = Self::find(objects, repo)?;
        let newer = |found: &Self| (found.birth, found.entry.seq) > (known.birth, known.entry.seq);
        Ok(found.filter(newer).unwrap_or(known))
    }

    /// Reads the entry with a key, which is the last one of its log as far as the caller knows.
    pub(crate) fn at(objects: &Objects, key: &str) -> Result<Self> {
        let bytes = objects.get(key)?;
        let bytes = bytes.ok_or_else(|| Error::damaged(key, "it was listed and is not there"))?;
        Self::of(key, &bytes)
    }

    /// Parses the entry with a key.
    pub(crate) fn of(key: &str, bytes: &[u8]) -> Result<Self> {
        let mut parts = key.rsplitn(4, '/');
        let (seq, _, birth) = (parts.next(), parts.next(), parts.next());
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let (Some(seq), Some(birth)) = (number(seq), number(birth)) else {
            return Err(Error::damaged(key, "it is no entry of a log"));
        };
        let log = key.rsplit_once('/').map_or("", |(log, _)| log).to_owned();
        let entry = parse(&log, seq, bytes)?;
        Ok(Self { log, birth: birth as u32, entry, digest: Digest::of(bytes) })
    }

    /// Checks that a name is spelled as the creator of the repository spelled it.
    pub(crate) fn check_spelling(&self, repo: &RepoName) -> Result<()> {
        if self.entry.name == repo.to_string() {
            return Ok(());
        }
        let problem = format!("differs from {} by case only", self.entry.name);
        Err(Error::Name { name: repo.to_string(), problem })
    }

    /// Whether the repository is there.
    pub(crate) fn is_live(&self) -> bool {
        self.entry.state == State::Live
    }

    /// Returns an entry that leaves everything as it is, to be changed and appended at the time
    /// `now` of the store.
    pub(crate) fn next(&self, action: Action, actor: &str, now: SystemTime) -> Entry {
        Entry {
            seq: self.entry.seq + 1,
            id: keys::random(),
            prev: self.digest,
            // Times never go back, whatever the clock of the store says.
            time: rfc3339(now).max(self.entry.time.clone()),
            actor: actor.into(),
            action,
            commit: None,
            request: None,
            recorded: None,
            ..self.entry.clone()
        }
    }
}

/// Returns the first entry of a new log, to be filled and appended.
pub(crate) fn first(repo: &RepoName, actor: &str, now: SystemTime) -> Entry {
    let time = rfc3339(now);
    Entry {
        version: VERSION,
        seq: 0,
        id: keys::random(),
        prev: Digest::of(b""),
        time: time.clone(),
        created: time,
        actor: actor.into(),
        action: Action::Push,
        name: repo.to_string(),
        state: State::Live,
        branches: Default::default(),
        tags: Default::default(),
        proposals: Default::default(),
        private: false,
        commit: None,
        request: None,
        recorded: None,
    }
}

/// Parses entry `seq` of a log.
pub(crate) fn parse(log: &str, seq: u64, bytes: &[u8]) -> Result<Entry> {
    /// Parsed first, so that an error names a later version instead of its unknown parts.
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }

    let broken = |problem: String| Error::Log { repo: log.into(), seq, problem };
    let json = without_sum(bytes).ok_or_else(|| broken("its SHA-256 does not match".into()))?;
    let version: Version =
        serde_json::from_slice(&json).map_err(|error| broken(error.to_string()))?;
    if version.version != VERSION {
        let what = keys::entry(log, seq);
        return Err(Error::Version { what, found: version.version, known: VERSION });
    }
    let entry: Entry = serde_json::from_slice(&json).map_err(|error| broken(error.to_string()))?;
    if entry.seq != seq {
        return Err(broken(format!("it says that it is entry {}", entry.seq)));
    }
    if keys::repo_of(log).is_some_and(|repo| repo != entry.name.to_ascii_lowercase()) {
        return Err(broken(format!("it says that it is of {}", entry.name)));
    }
    Ok(entry)
}

/// What became of an entry.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is in the log.
    Done(Head),
    /// Another one has its number: look at it, and try again after it.
    Behind(Head),
}

/// [`append`] for the holder of a lease. Where the collector has ended it, either the entry was
/// there before, and all that it names is kept, or there is an error and the entry never comes.
pub(crate) fn append_held(
    objects: &Objects,
    lease: &Lease,
    (log, birth): (&str, u32),
    entry: &Entry,
) -> Result<Appended> {
    lease.claim(log, &entry.name)?;
    let appended = append(objects, log, birth, entry);
    match &appended {
        Ok(Appended::Done(_)) => {}
        // It may be the fence of the collector that has taken the number.
        Ok(Appended::Behind(_)) => lease.check(&entry.name)?,
        Err(_) => lease.leave(),
    }
    appended
}

/// Appends an entry to a log: makes the object of its number if there is none. On any doubt it is
/// read back: the store may have written it and lost the answer.
pub(crate) fn append(objects: &Objects, log: &str, birth: u32, entry: &Entry) -> Result<Appended> {
    let key = keys::entry(log, entry.seq);
    let bytes = entry.to_bytes();
    let mut failed = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            thread::sleep(Duration::from_millis(10 << attempt));
        }
        match objects.create(&key, bytes.clone()) {
            Ok(Created::Made) => {
                let digest = Digest::of(&bytes);
                let head = Head { log: log.into(), birth, entry: entry.clone(), digest };
                return Ok(Appended::Done(head));
            }
            Ok(Created::Existed) => {}
            // The first one counts: after a doubtful attempt a refused one says nothing of it.
            Err(error) => failed = failed.or(Some(error)),
        }
        match objects.get(&key) {
            Ok(Some(found)) => {
                let head = Head::of(&key, &found)?;
                let ours = head.entry.id == entry.id;
                if ours && failed.is_some() {
                    // The failure may have been that of syncing it to disk.
                    objects.sync(&key)?;
                }
                return Ok(if ours { Appended::Done(head) } else { Appended::Behind(head) });
            }
            // The same bytes are sent again under the same name: two of them do no harm.
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
        // Whoever may not write has not written.
        if let Some(error @ at1w_remote::Error::Refused { .. }) = failed {
            return Err(error.into());
        }
    }
    let cause = failed.map(|error| error.to_string()).unwrap_or_default();
    Err(Error::Unknown { repo: entry.name.clone(), cause })
}

/// Reads the entries of a log up to number `last`, and checks that each follows the one before.
pub(crate) fn read_all(objects: &Objects, log: &str, last: u64) -> Result<Vec<Entry>> {
    Ok(read_chain(objects, log, last)?.1)
}

/// [`read_all`] for those who prove the entries themselves: no checkpoint stands for them.
pub(crate) fn read_each(objects: &Objects, log: &str, last: u64) -> Result<Vec<Entry>> {
    Ok(read_after(objects, log, Vec::new(), last)?.1)
}

/// [`read_all`], with the entries as they are stored as well.
pub(crate) fn read_chain(objects: &Objects, log: &str, last: u64) -> Result<Chain> {
    let start = checkpoint::read(objects, log, last)?;
    if !start.is_empty()
        && let Ok(chain) = read_after(objects, log, start, last)
    {
        return Ok(chain);
    }
    // The entries themselves tell what is wrong.
    read_after(objects, log, Vec::new(), last)
}

/// Entries that follow each other: as they are stored, and parsed.
type Chain = (Vec<Bytes>, Vec<Entry>);

/// Reads the entries that follow `start`.
fn read_after(objects: &Objects, log: &str, start: Vec<Bytes>, last: u64) -> Result<Chain> {
    let keys: Vec<_> = (start.len() as u64..=last).map(|seq| keys::entry(log, seq)).collect();
    let mut all: Vec<_> = start.into_iter().map(Some).collect();
    all.extend(objects.get_all(&keys)?);
    let entries = check_chain(log, all.iter().map(Option::as_deref))?;
    Ok((all.into_iter().flatten().collect(), entries))
}

/// Returns the number of the last entry of a log whose objects were listed.
///
/// # Errors
/// [`Error::Log`] unless there is an object for each number from 0 on, and nothing else: what such
/// a log names cannot be told.
pub(crate) fn last_of(log: &str, listed: &[Meta]) -> Result<u64> {
    for (seq, meta) in (0..).zip(listed) {
        if meta.key != keys::entry(log, seq) {
            let problem = format!("{} is in its place", keys::last_part(&meta.key));
            return Err(Error::Log { repo: log.into(), seq, problem });
        }
    }
    Ok((listed.len() as u64).saturating_sub(1))
}

/// Parses the entries of a log, and checks that each follows the one before.
pub(crate) fn check_chain<'a>(
    log: &str,
    entries: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<Vec<Entry>> {
    let mut before = (Digest::of(b""), String::new());
    let mut commits = HashMap::new();
    let mut chain: Vec<Entry> = Vec::new();
    for (seq, bytes) in entries.enumerate() {
        let seq = seq as u64;
        let broken = |problem: &str| Error::Log { repo: log.into(), seq, problem: problem.into() };
        let bytes = bytes.ok_or_else(|| broken("the entry is missing"))?;
        let entry = parse(log, seq, bytes)?;
        if entry.prev != before.0 {
            return Err(broken("it does not follow the entry before: one of the two was changed"));
        }
        if entry.time < before.1 {
            return Err(broken("its time is before that of the entry before"));
        }
        if let Some(commit) = &entry.commit {
            if commit.clone().named(&entry.id).id != commit.id {
                return Err(broken("its commit has the name of another"));
            }
            if commit.parent.as_ref().is_some_and(|parent| !commits.contains_key(parent)) {
                return Err(broken("its commit follows one that the log does not have"));
            }
            commits.insert(commit.id.clone(), Ref::to(commit, seq));
        }
        let mut refs = entry.branches.values().chain(entry.tags.values());
        if refs.any(|found| commits.get(&found.commit) != Some(found)) {
            return Err(broken("it names a commit that the log does not have"));
        }
        before = (Digest::of(bytes), entry.time.clone());
        chain.push(entry);
    }
    Ok(chain)
}

/// Writes checkpoints of the logs whose entries were listed, where many entries follow the last
/// one.
pub(crate) fn renew_checkpoints(objects: &Objects, listed: &[Meta]) -> Result<()> {
    let mut before: HashMap<String, Vec<String>> = HashMap::new();
    for meta in objects.list(keys::CHECKPOINTS)? {
        before.entry(keys::parent(&meta.key).to_owned()).or_default().push(meta.key);
    }
    for entries in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
        let log = keys::parent(&entries[0].key);
        let folder = keys::checkpoints(log);
        let before = before.remove(&folder).unwrap_or_default();
        let covered = before.last().map_or(0, |key| checkpoint::number(key) + 1);
        // Whoever reads the log is told what is wrong with it.
        let Ok(last) = last_of(log, entries) else { continue };
        if last + 1 < covered + checkpoint::EVERY {
            continue;
        }
        let entries = match read_chain(objects, log, last) {
            Err(error) if error.is_integrity() => continue,
            chain => chain?.0,
        };
        // Raw lines are kept as they are, since their hashes are in the chain.
        if entries.iter().any(|entry| entry.contains(&b'\n')) {
            continue;
        }
        objects.put(&format!("{folder}/{last:08}"), entries.join(&b'\n'))?;
        objects.delete(&before)?;
    }
    Ok(())
}
