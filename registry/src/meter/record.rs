//! Usage records: who did what, in one chain of hashes for each process that writes to a store.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use at1w_container::Digest;
use at1w_remote::{Created, Objects};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sum::{with_sum, without_sum};
use crate::time::{hour, next_hour, rfc3339};
use crate::{hexadecimal, keys};

/// The number of times that records are sent again while the store does not say whether they are
/// there.
const TRIES: u32 = 8;

/// A usage record. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Record {
    /// The number of the record in its chain, from 0.
    pub seq: u64,
    /// The time of the store, in RFC 3339.
    pub time: String,
    /// The random name of the process that wrote it.
    pub server: String,
    /// The request that it is about.
    pub request: Option<String>,
    /// The token of that request.
    pub token_id: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What was done: the action of an entry of a log, `read` or `sample`.
    pub action: String,
    /// The repository; of a sample the namespace.
    pub repo: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    /// The path of a file.
    pub path: Option<String>,
    /// The SHA-256 of the tree.
    pub sha256: Option<String>,
    /// The length of the originals.
    pub bytes_logical: u64,
    /// The length of the originals, each once; of a sample.
    pub bytes_unique: u64,
    /// The number of bytes that were stored.
    pub bytes_stored: u64,
    /// The number of bytes that were sent.
    pub bytes_sent: u64,
    /// The number of requests that were answered.
    pub requests: u64,
    /// `recorded` for an entry that the log has if it was acknowledged; otherwise `done`.
    pub status: String,
    /// The entry of a log that it is about.
    pub entry: Option<String>,
    /// The SHA-256 of the record before; that of no bytes in the first one.
    #[serde(with = "hexadecimal")]
    pub prev: Digest,
}

impl Record {
    /// Returns a record of something that was done, to be filled in.
    pub fn new(action: &str, actor: &str) -> Self {
        Self {
            seq: 0,
            time: String::new(),
            server: String::new(),
            request: None,
            token_id: None,
            actor: actor.into(),
            action: action.into(),
            repo: None,
            revision: None,
            path: None,
            sha256: None,
            bytes_logical: 0,
            bytes_unique: 0,
            bytes_stored: 0,
            bytes_sent: 0,
            requests: 0,
            status: "done".into(),
            entry: None,
            prev: Digest::of(b""),
        }
    }

    /// Parses a stored record; `None` where it is none, or was changed.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(&without_sum(line)?).ok()
    }
}

/// What names a record in the entry that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The key of the object.
    pub(crate) key: String,
    /// The SHA-256 of the record.
    #[serde(with = "hexadecimal")]
    pub(crate) sha256: Digest,
}

/// The writer of the records of a process.
#[derive(Debug)]
pub(crate) struct Recorder {
    server: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    chain: Chain,
    /// The hour of the last record, in which no seal was then.
    hour: String,
}

/// The end of the chain of a process.
#[derive(Clone, Copy, Debug)]
struct Chain {
    /// The number of the next record.
    seq: u64,
    prev: Digest,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let chain = Chain { seq: 0, prev: Digest::of(b"") };
        Self { server: keys::random(), state: Mutex::new(State { chain, hour: String::new() }) }
    }

    /// Writes records as one object, at the time `now` of the store; returns what names the last.
    ///
    /// # Errors
    /// Those of the store: what the records are about must not be acknowledged then.
    pub(crate) fn write(
        &self,
        objects: &Objects,
        now: SystemTime,
        records: &[Record],
    ) -> Result<Recorded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let time = state.time(objects, rfc3339(now))?;
        let chain = &mut state.chain;
        let mut failed = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(Duration::from_millis(10 << attempt));
            }
            let key = keys::record(&hour(&time), &self.server, chain.seq);
            let (bytes, next) = self.lines(*chain, &time, records);
            match objects.create(&key, bytes.clone()) {
                Ok(Created::Made) => {
                    *chain = next;
                    return Ok(Recorded { key, sha256: next.prev });
                }
                Ok(Created::Existed) => {}
                Err(error @ at1w_remote::Error::Refused { .. }) => return Err(error.into()),
                Err(error) => failed = Some(error),
            }
            match objects.get(&key) {
                Ok(Some(found)) if found == bytes => {
                    if failed.is_some() {
                        // The failure may have been that of syncing it to disk.
                        objects.sync(&key)?;
                    }
                    *chain = next;
                    return Ok(Recorded { key, sha256: next.prev });
                }
                // Records whose answer was lost, and that nothing was acknowledged for.
                Ok(Some(found)) => *chain = after(&key, &found)?,
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Err(Error::Unfit("the store takes no usage records".into())),
        }
    }

    /// Returns the lines of an object, and the chain after them.
    fn lines(&self, mut chain: Chain, time: &str, records: &[Record]) -> (Vec<u8>, Chain) {
        let mut bytes = Vec::new();
        for record in records {
            let (seq, prev) = (chain.seq, chain.prev);
            let (time, server) = (time.into(), self.server.clone());
            let record = Record { seq, time, server, prev, ..record.clone() };
            let json = serde_json::to_vec(&record).expect("a record is plain data");
            let line = with_sum(&json);
            chain = Chain { seq: seq + 1, prev: Digest::of(&line) };
            bytes.extend(line);
            bytes.push(b'\n');
        }
        (bytes, chain)
    }
}

impl State {
    /// Returns the time of a record. A clock that went back, or that of another machine, does not
    /// lead into an hour that is over for the chain, or sealed.
    fn time(&mut self, objects: &Objects, now: String) -> Result<String> {
        let mut of_hour = hour(&now);
        if of_hour != self.hour {
            let sealed = objects.list(keys::SEALS)?;
            let sealed = sealed.last().map(|meta| next_hour(keys::last_part(&meta.key)));
            of_hour = of_hour.max(sealed.unwrap_or_default()).max(self.hour.clone());
            self.hour.clone_from(&of_hour);
        }
        Ok(now.max(format!("{of_hour}:00:00Z")))
    }
}

/// Returns the end of a chain after the records of an object.
fn after(key: &str, bytes: &[u8]) -> Result<Chain> {
    let last = lines(bytes).last().unwrap_or_default();
    let record = Record::parse(last).ok_or_else(|| Error::damaged(key, "it is no usage record"))?;
    Ok(Chain { seq: record.seq + 1, prev: Digest::of(last) })
}

/// Returns the lines of an object of records.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.split(|&byte| byte == b'\n')
}
