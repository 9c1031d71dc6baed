//! The record of a scrub: which packs it has proven, for pushes, and a statement for everybody
//! else, signed where a key is given.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys;
use crate::mark::{Marked, Part};
use crate::name::check_namespace;
use crate::prove::{Lens, Proof};
use crate::push::Signer;
use crate::recipe::Location;
use crate::store::Store;
use crate::time::rfc3339;
use crate::view::Proven;

/// The version of statements that this module writes.
const VERSION: u32 = 1;

/// How long a scrub that did not come to its end can be gone on with.
const UNFINISHED: Duration = Duration::from_secs(60 * 24 * 3600);

/// The number of records that are looked at for one of all of a namespace.
const LOOKED_AT: usize = 256;

/// The statement of a scrub: what was read and proven. Its bytes are signed as they are written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScrubStatement {
    /// The version of the statement.
    pub at1w_scrub: u32,
    /// The id of the store.
    pub store: String,
    /// The namespace.
    pub namespace: String,
    /// Whether all of it was read, and not a sample or one repository.
    pub complete: bool,
    /// The time at which the scrub began, in RFC 3339.
    pub began: String,
    /// The time at which it ended.
    pub ended: String,
    /// The number of stored bytes that were read.
    pub bytes: u64,
    /// The number of places that were proven.
    pub proven: u64,
    /// The number of places, logs, trees and recipes that are damaged.
    pub damaged: u64,
    /// The SHA-256 of each tree of a repository that is not private, all of whose files were
    /// proven; none where not all was read.
    pub trees: BTreeSet<String>,
}

/// The record of a scrub for those who were not there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScrubRecord {
    /// The statement, as it was written and signed: JSON.
    pub text: String,
    /// The statement.
    pub statement: ScrubStatement,
    /// A signature over the text, in the format of minisign.
    pub signature: Option<String>,
}

/// A record as it is stored: one at the end of a scrub, and some on the way. Pushes read the first
/// part of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The packs that were proven in full since the record before.
    #[serde(flatten)]
    pub(crate) proven: Proven,
    /// The number of bytes that were read.
    pub(crate) bytes: u64,
    pub(crate) damaged: Vec<Location>,
    /// When the scrub began, where it is one of the whole namespace.
    #[serde(default)]
    pub(crate) began: Option<String>,
    /// Whether it has come to its end, and is one of the whole namespace.
    #[serde(default)]
    pub(crate) complete: bool,
    /// What it says to everybody else: at the end of a scrub.
    #[serde(default)]
    pub(crate) statement: Option<String>,
    /// The signature over the statement.
    #[serde(default)]
    pub(crate) signature: Option<String>,
}

impl Record {
    /// Notes what was proven since the last time.
    pub(crate) fn note(&mut self, proof: &Proof, lens: &Lens, written: &mut HashSet<String>) {
        let mut covered: HashMap<&str, u64> = HashMap::new();
        for location in proof.good() {
            *covered.entry(&location.pack).or_default() += location.len;
        }
        let whole = covered.into_iter().filter(|(pack, bytes)| lens.get(*pack) == Some(bytes));
        let new = whole.map(|(pack, _)| pack.to_owned()).filter(|pack| !written.contains(pack));
        let mut packs: Vec<_> = new.collect();
        packs.sort();
        written.extend(packs.iter().cloned());
        self.damaged = proof.damaged().into_keys().cloned().collect();
        self.damaged.sort();
        self.bytes = proof.bytes;
        self.proven = Proven { packs, time: rfc3339(SystemTime::now()) };
    }

    /// Adds a statement, signed where a key is given.
    pub(crate) fn stating(
        self,
        statement: &ScrubStatement,
        sign: Option<&Signer<'_>>,
    ) -> Result<Self> {
        let text = serde_json::to_string(statement).expect("a statement is plain data");
        let signature = sign.map(|sign| sign(&text).map_err(Error::Unfit)).transpose()?;
        Ok(Self { statement: Some(text), signature, ..self })
    }
}

impl Store {
    /// Returns what a scrub of a namespace, in which `damaged` parts were found, says at its end.
    pub(crate) fn statement(
        &self,
        namespace: &str,
        marked: &Marked,
        proof: &Proof,
        damaged: u64,
        record: &Record,
        began: String,
    ) -> Result<ScrubStatement> {
        let complete = record.complete;
        Ok(ScrubStatement {
            at1w_scrub: VERSION,
            store: self.id()?,
            namespace: namespace.into(),
            complete,
            began,
            ended: record.proven.time.clone(),
            bytes: proof.bytes,
            proven: proof.good().count() as u64,
            damaged,
            trees: if complete { proven_trees(marked, proof) } else { BTreeSet::new() },
        })
    }

    /// Writes the record of a scrub of a namespace, whose name sorts after that of the record
    /// before; returns its name.
    pub(crate) fn write_record(
        &self,
        namespace: &str,
        record: Record,
        before: Option<&str>,
    ) -> Result<String> {
        let json = serde_json::to_vec(&record).expect("a record is plain data");
        let name = keys::next(before);
        self.objects.put(&format!("{}/{name}", keys::scrubs(namespace)), json)?;
        Ok(name)
    }

    /// Returns when the last scrub of a whole namespace began that did not come to its end, and the
    /// packs that it has proven; `None` where there is none that is young enough to go on with.
    pub(crate) fn unfinished(&self, namespace: &str) -> Result<Option<(String, HashSet<String>)>> {
        let now = self.now()?;
        let mut found: Option<(String, HashSet<String>)> = None;
        for meta in self.objects.list(&keys::scrubs(namespace))?.into_iter().rev() {
            let Some(bytes) = self.objects.get(&meta.key)? else { continue };
            // One that cannot be read proves nothing.
            let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { continue };
            let Some(began) = record.began else { continue };
            if record.complete || now.duration_since(meta.modified).unwrap_or_default() > UNFINISHED
            {
                break;
            }
            let (same, packs) = found.get_or_insert_with(|| (began.clone(), HashSet::new()));
            if *same == began {
                packs.extend(record.proven.packs);
            }
        }
        Ok(found)
    }

    /// Reads the record of the last scrub of all of a namespace; of the last one of a part, where
    /// there is none lately. `None` where it was never scrubbed.
    ///
    /// # Errors
    /// [`Error::Name`], and those of the store.
    pub fn last_scrub(&self, namespace: &str) -> Result<Option<ScrubRecord>> {
        check_namespace(namespace)?;
        let listed = self.objects.list(&keys::scrubs(namespace))?;
        let mut last = None;
        for meta in listed.iter().rev().take(LOOKED_AT) {
            let Some(bytes) = self.objects.get(&meta.key)? else { continue };
            // One of another version says nothing to this one.
            let Some(record) = parse(&bytes) else { continue };
            if record.statement.complete {
                return Ok(Some(record));
            }
            last.get_or_insert(record);
        }
        Ok(last)
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Option<ScrubRecord> {
    let Record { statement, signature, .. } = serde_json::from_slice(bytes).ok()?;
    let text = statement?;
    let statement: ScrubStatement = serde_json::from_str(&text).ok()?;
    (statement.at1w_scrub == VERSION).then_some(ScrubRecord { text, statement, signature })
}

/// Returns the trees of repositories that are not private, all of whose files are proven.
fn proven_trees(marked: &Marked, proof: &Proof) -> BTreeSet<String> {
    let mut bad: HashSet<_> = proof.bad.iter().map(|bad| bad.file).collect();
    bad.extend(marked.broken.iter().filter_map(|broken| match broken.part {
        Part::Recipe(file) => Some(file),
        _ => None,
    }));
    let good = marked.without(&bad).filter(|in_use| in_use.current && !in_use.private);
    good.map(|in_use| in_use.commit.tree.to_string()).collect()
}
