//! Seals: each names the last record that every process wrote in an hour, and the seal before, so
//! that none of them can be changed unnoticed from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use at1w_container::Digest;
use at1w_remote::{Created, Objects};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::meter::record::{Record, lines};
use crate::push::Signer;
use crate::store::Store;
use crate::sum::{with_sum, without_sum};
use crate::time::{hour, rfc3339};
use crate::{hexadecimal, keys};

/// The version that this module writes and reads.
const VERSION: u32 = 1;

/// How long after an hour it is sealed: a record that was begun in it may still come.
const SLACK: Duration = Duration::from_secs(600);

/// A seal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    version: u32,
    pub(crate) hour: String,
    /// The SHA-256 of the seal before; that of no bytes in the first one.
    #[serde(with = "hexadecimal")]
    pub(crate) prev: Digest,
    pub(crate) chains: Vec<Sealed>,
}

/// The records that a process wrote in an hour.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed {
    pub(crate) server: String,
    /// The number of the first record, and that of the last.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The SHA-256 of the last one, which follows from all before it.
    #[serde(with = "hexadecimal")]
    pub(crate) sha256: Digest,
}

/// A signature over all seals up to the end of a day.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    /// The SHA-256 of the last seal of the day.
    #[serde(with = "hexadecimal")]
    pub(crate) seal: Digest,
    pub(crate) signature: String,
}

/// Returns the message that is signed for a day.
pub(crate) fn signed_day(day: &str, seal: &Digest) -> String {
    format!("at1w meter v1 {day} {seal}\n")
}

impl Seal {
    pub(crate) fn parse(key: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |problem: String| Error::damaged(key, problem);
        let json =
            without_sum(bytes).ok_or_else(|| damaged("its SHA-256 does not match".into()))?;
        let seal: Self =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if seal.version != VERSION {
            return Err(Error::Version { what: key.into(), found: seal.version, known: VERSION });
        }
        Ok(seal)
    }

    /// Seals the records of an hour.
    fn of(objects: &Objects, hour: &str, prev: Digest) -> Result<Self> {
        let listed = objects.list(&keys::records(hour))?;
        let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
        let mut chains: BTreeMap<String, Sealed> = BTreeMap::new();
        for (key, bytes) in listed.iter().zip(objects.get_all(&listed)?) {
            let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is missing"))?;
            for line in lines(&bytes) {
                let record = Record::parse(line);
                let record = record.ok_or_else(|| Error::damaged(key, "it was changed"))?;
                let (server, first) = (record.server, record.seq);
                let sealed = Sealed { server, first, last: first, sha256: Digest::of(line) };
                let chain = chains.entry(sealed.server.clone());
                chain
                    .and_modify(|chain| (chain.last, chain.sha256) = (sealed.last, sealed.sha256))
                    .or_insert(sealed);
            }
        }
        let chains = chains.into_values().collect();
        Ok(Self { version: VERSION, hour: hour.into(), prev, chains })
    }
}

impl Store {
    /// Seals the hours of usage records that are over, and signs the days that are over where a key
    /// is given; returns the number of seals. Several may do so at the same time.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a record was changed before, and those of the store.
    pub fn seal(&self, sign: Option<&Signer<'_>>) -> Result<u64> {
        self.require()?;
        let end = rfc3339(self.now()? - SLACK);
        let sealed = self.objects.list(keys::SEALS)?;
        let mut prev = Digest::of(b"");
        if let Some(last) = sealed.last() {
            let bytes = self.objects.get(&last.key)?;
            let bytes = bytes.ok_or_else(|| Error::damaged(&last.key, "it is missing"))?;
            prev = Digest::of(&bytes);
        }
        let last = sealed.last().map(|meta| keys::last_part(&meta.key).to_owned());
        let (mut count, end_hour) = (0, hour(&end));
        for hour in self.objects.folders(keys::METER)? {
            if last.as_ref().is_some_and(|last| hour <= *last) || hour >= end_hour {
                continue;
            }
            let seal = Seal::of(&self.objects, &hour, prev)?;
            let bytes = with_sum(&serde_json::to_vec(&seal).expect("a seal is plain data"));
            let key = keys::seal(&hour);
            match self.objects.create(&key, bytes.clone())? {
                Created::Made => {
                    prev = Digest::of(&bytes);
                    count += 1;
                }
                // Another process was faster.
                Created::Existed => {
                    let bytes = self.objects.get(&key)?;
                    let bytes = bytes.ok_or_else(|| Error::damaged(&key, "it is missing"))?;
                    prev = Digest::of(&bytes);
                }
            }
        }
        if let Some(sign) = sign {
            self.sign_days(&end, sign)?;
        }
        Ok(count)
    }

    /// Signs the days that are over and have seals.
    fn sign_days(&self, end: &str, sign: &Signer<'_>) -> Result<()> {
        let today = day(end);
        let mut days = BTreeMap::new();
        for meta in self.objects.list(keys::SEALS)? {
            days.insert(day(keys::last_part(&meta.key)).to_owned(), meta.key);
        }
        for (day, key) in days.iter().filter(|(day, _)| day.as_str() < today) {
            let signed = keys::signature(day);
            if self.objects.head(&signed)?.is_some() {
                continue;
            }
            let bytes = self.objects.get(key)?;
            let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is missing"))?;
            let seal = Digest::of(&bytes);
            let signature = sign(&signed_day(day, &seal)).map_err(Error::Unfit)?;
            let json = serde_json::to_vec(&Signed { seal, signature }).expect("it is plain data");
            // Another process may have signed it meanwhile: one signature is as good as another.
            self.objects.create(&signed, json)?;
        }
        Ok(())
    }
}

/// Returns the day of a time or an hour.
pub(crate) fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}
