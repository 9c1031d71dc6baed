//! Checking the usage records of a period: each chain, each seal, and that each entry of a log has
//! its record.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, SystemTime};

use at1w_container::Digest;

use crate::error::{Error, Result};
use crate::keys;
use crate::log;
use crate::meter::record::{Record, lines};
use crate::meter::seal::{Seal, Sealed, Signed, day, signed_day};
use crate::meter::series::Sizes;
use crate::store::Store;
use crate::time::{hour, rfc3339, seconds};

/// The number of objects that are read at a time.
const AT_A_TIME: usize = 256;

/// The time by which a clock may be ahead.
const AHEAD: Duration = Duration::from_secs(300);

/// The seconds before a sample within which sizes may have changed while it was taken.
const SAMPLING: u64 = 120;

/// Checks a signature over a message; returns what is wrong with it.
pub type Verifier<'a> = dyn Fn(&str, &str) -> Result<(), String> + 'a;

/// How usage records are checked.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct AuditOptions<'a> {
    /// The first hour, as `2026-11-26T10`; `None` is the first there is.
    pub from: Option<&'a str>,
    /// The last hour; `None` is the last there is.
    pub to: Option<&'a str>,
    /// Checks the signatures of days.
    pub verify: Option<&'a Verifier<'a>>,
}

impl fmt::Debug for AuditOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditOptions")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl<'a> AuditOptions<'a> {
    /// Returns the defaults: everything, whoever has signed it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the first hour and the last one.
    #[must_use]
    pub fn period(self, from: Option<&'a str>, to: Option<&'a str>) -> Self {
        Self { from, to, ..self }
    }

    /// Sets what checks the signatures of days.
    #[must_use]
    pub fn verify(self, verify: impl Into<Option<&'a Verifier<'a>>>) -> Self {
        Self { verify: verify.into(), ..self }
    }

    fn has(&self, hour: &str) -> bool {
        self.from.is_none_or(|from| hour >= from) && self.to.is_none_or(|to| hour <= to)
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Audited {
    /// The number of records.
    pub records: u64,
    /// The number of processes that wrote them.
    pub servers: u64,
    /// The number of entries of logs whose records were found.
    pub entries: u64,
    /// The number of hours that are sealed.
    pub seals: u64,
    /// The number of records in no seal yet.
    pub unsealed: u64,
    /// The days that are signed.
    pub signed: Vec<String>,
    /// The number of samples that were held against the logs.
    pub samples: u64,
    /// The first break.
    pub broken: Option<Break>,
    /// What is odd and no break: samples that differ from the logs, and times ahead of the clock.
    pub odd: Vec<String>,
}

/// Where records are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Break {
    /// The hour.
    pub hour: String,
    /// The object.
    pub object: String,
    /// The problem with it.
    pub problem: String,
}

/// A record as it was found.
struct Found {
    key: String,
    hour: String,
    record: Record,
    sha256: Digest,
}

/// A check that goes on.
struct Audit<'a> {
    store: &'a Store,
    options: &'a AuditOptions<'a>,
    breaks: Vec<Break>,
    chains: BTreeMap<String, Vec<Found>>,
    done: Audited,
}

impl Store {
    /// Checks the usage records of a period, and that what logs have done in it is recorded.
    ///
    /// # Errors
    /// Those of the store. A break is an outcome and no error.
    pub fn audit(&self, options: &AuditOptions<'_>) -> Result<Audited> {
        self.require()?;
        let (breaks, chains, done) = (Vec::new(), BTreeMap::new(), Audited::default());
        let mut audit = Audit { store: self, options, breaks, chains, done };
        audit.read()?;
        audit.check_chains();
        audit.check_seals()?;
        audit.check_entries()?;
        audit.check_samples()?;
        let Audit { breaks, done, .. } = audit;
        Ok(Audited { broken: breaks.into_iter().min(), ..done })
    }
}

impl Audit<'_> {
    fn broken(&mut self, hour: &str, object: &str, problem: impl Into<String>) {
        let (hour, object, problem) = (hour.into(), object.into(), problem.into());
        self.breaks.push(Break { hour, object, problem });
    }

    /// Reads the records of the period.
    fn read(&mut self) -> Result<()> {
        let mut listed = Vec::new();
        for hour in self.store.objects.folders(keys::METER)? {
            if self.options.has(&hour) {
                listed.extend(self.store.objects.list(&keys::records(&hour))?);
            }
        }
        let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
        for some in listed.chunks(AT_A_TIME) {
            for (key, bytes) in some.iter().zip(self.store.objects.get_all(some)?) {
                let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is missing"))?;
                self.add(key, &bytes);
            }
        }
        for chain in self.chains.values_mut() {
            chain.sort_by_key(|found| found.record.seq);
        }
        self.done.servers = self.chains.len() as u64;
        Ok(())
    }

    fn add(&mut self, key: &str, bytes: &[u8]) {
        let mut parts = key.split('/').skip(1);
        let [of_hour, server, seq] = [(); 3].map(|()| parts.next().unwrap_or_default());
        let mut next: Option<u64> = seq.parse().ok();
        for line in lines(bytes) {
            self.done.records += 1;
            let Some(record) = Record::parse(line) else {
                return self.broken(of_hour, key, "its SHA-256 does not match: it was changed");
            };
            if next != Some(record.seq) || record.server != server || hour(&record.time) != of_hour
            {
                return self.broken(of_hour, key, "its record is another one: it was moved");
            }
            next = next.map(|seq| seq + 1);
            let (key, hour, sha256) = (key.into(), of_hour.into(), Digest::of(line));
            let chain = self.chains.entry(record.server.clone()).or_default();
            chain.push(Found { key, hour, record, sha256 });
        }
    }

    /// Checks that each record follows the one before.
    fn check_chains(&mut self) {
        let mut breaks = Vec::new();
        for chain in self.chains.values() {
            let first = self.options.from.is_none().then_some((0, Digest::of(b"")));
            let mut expected = first;
            for Found { key, hour, record, sha256 } in chain {
                let problem = match expected {
                    Some((seq, _)) if record.seq != seq => Some(format!("record {seq} is missing")),
                    Some((_, prev)) if record.prev != prev => Some(
                        "it does not follow the record before: one of the two was changed".into(),
                    ),
                    _ => None,
                };
                breaks.extend(problem.map(|problem| (hour.clone(), key.clone(), problem)));
                expected = Some((record.seq + 1, *sha256));
            }
        }
        for (hour, key, problem) in breaks {
            self.broken(&hour, &key, problem);
        }
    }

    /// Checks that the seals follow each other, and that each is of the records that are there.
    fn check_seals(&mut self) -> Result<()> {
        let mut there: BTreeMap<String, BTreeMap<String, Sealed>> = BTreeMap::new();
        for (server, chain) in &self.chains {
            for found in chain {
                let (server, first) = (server.clone(), found.record.seq);
                let sealed = Sealed { server, first, last: first, sha256: found.sha256 };
                let hour = there.entry(found.hour.clone()).or_default();
                hour.entry(sealed.server.clone())
                    .and_modify(|chain| (chain.last, chain.sha256) = (first, sealed.sha256))
                    .or_insert(sealed);
            }
        }
        let mut prev = self.options.from.is_none().then(|| Digest::of(b""));
        let mut days: BTreeMap<String, Digest> = BTreeMap::new();
        let listed = self.store.objects.list(keys::SEALS)?;
        let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
        let listed: Vec<_> =
            listed.into_iter().filter(|key| self.options.has(keys::last_part(key))).collect();
        for (key, bytes) in listed.iter().zip(self.store.objects.get_all(&listed)?) {
            let of_hour = keys::last_part(key);
            let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is missing"))?;
            let digest = Digest::of(&bytes);
            self.done.seals += 1;
            match Seal::parse(key, &bytes) {
                Err(error) => self.broken(of_hour, key, error.to_string()),
                Ok(seal) => {
                    if prev.is_some_and(|prev| seal.prev != prev) || seal.hour != of_hour {
                        let problem = "it does not follow the seal before: one of the two was \
                                       changed or taken away";
                        self.broken(of_hour, key, problem);
                    }
                    let mut found = there.remove(of_hour).unwrap_or_default();
                    for chain in &seal.chains {
                        let object = format!("{}/{}", keys::records(of_hour), chain.server);
                        match found.remove(&chain.server) {
                            Some(there) if there == *chain => {}
                            Some(_) => {
                                self.broken(of_hour, &object, "its records are not those sealed");
                            }
                            None => self.broken(of_hour, &object, "its records were taken away"),
                        }
                    }
                    for server in found.into_keys() {
                        let object = format!("{}/{server}", keys::records(of_hour));
                        self.broken(of_hour, &object, "its records came after the hour was sealed");
                    }
                }
            }
            prev = Some(digest);
            days.insert(day(of_hour).into(), digest);
        }
        let last = listed.last().map(|key| keys::last_part(key).to_owned());
        for (hour, chains) in there {
            if last.as_ref().is_some_and(|last| hour <= *last) {
                let problem = "it has records, and no seal, though later hours are sealed";
                self.broken(&hour, &keys::records(&hour), problem);
            }
            let count = chains.values().map(|chain| chain.last - chain.first + 1);
            self.done.unsealed += count.sum::<u64>();
        }
        self.check_signatures(&days)
    }

    /// Checks that signatures are over the seals that are there.
    fn check_signatures(&mut self, days: &BTreeMap<String, Digest>) -> Result<()> {
        for (day, seal) in days {
            let key = keys::signature(day);
            let Some(bytes) = self.store.objects.get(&key)? else { continue };
            // The last seal of a day that the period cuts is another one.
            if self.options.to.is_some_and(|to| to.starts_with(day.as_str())) {
                continue;
            }
            let signed: Result<Signed, _> = serde_json::from_slice(&bytes);
            let problem = match (signed, self.options.verify) {
                (Err(error), _) => Some(error.to_string()),
                (Ok(signed), _) if signed.seal != *seal => {
                    Some("it signs another seal: the last one of the day was changed".into())
                }
                (Ok(signed), Some(verify)) => {
                    verify(&signed_day(day, seal), &signed.signature).err()
                }
                (Ok(_), None) => None,
            };
            match problem {
                Some(problem) => self.broken(&format!("{day}T24"), &key, problem),
                None => self.done.signed.push(day.clone()),
            }
        }
        Ok(())
    }

    /// Checks that each entry of a log has its record.
    fn check_entries(&mut self) -> Result<()> {
        let found = self.chains.values().flatten();
        let records: HashMap<String, (String, Digest)> = found
            .filter_map(|found| {
                Some((found.record.entry.clone()?, (found.key.clone(), found.sha256)))
            })
            .collect();
        let now = rfc3339(SystemTime::now() + AHEAD);
        let listed = self.store.objects.list(keys::REPOS)?;
        for log in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
            let folder = keys::parent(&log[0].key);
            let read = log::last_of(folder, log)
                .and_then(|last| log::read_all(&self.store.objects, folder, last));
            let entries = match read {
                Err(error) if error.is_integrity() => {
                    self.broken("", folder, error.to_string());
                    continue;
                }
                entries => entries?,
            };
            for entry in entries {
                let object = keys::entry(folder, entry.seq);
                if entry.time > now {
                    let odd = format!("{object} has time {}, ahead of this clock", entry.time);
                    self.done.odd.push(odd);
                }
                let Some(recorded) = &entry.recorded else { continue };
                let of_hour = recorded.key.split('/').nth(1).unwrap_or_default();
                if !self.options.has(of_hour) {
                    continue;
                }
                match records.get(&entry.id) {
                    Some((key, sha256)) if *key == recorded.key && *sha256 == recorded.sha256 => {
                        self.done.entries += 1;
                    }
                    Some(_) => {
                        self.broken(
                            of_hour,
                            &recorded.key,
                            format!("it is not what {object} names"),
                        );
                    }
                    None => {
                        self.broken(
                            of_hour,
                            &recorded.key,
                            format!("{object} names it: it is gone"),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds samples against what the logs add up to.
    fn check_samples(&mut self) -> Result<()> {
        let found = self.chains.values().flatten();
        let samples: Vec<_> = found.filter(|found| found.record.action == "sample").collect();
        if samples.is_empty() {
            return Ok(());
        }
        let usage = self.store.usage(None)?;
        let mut odd = Vec::new();
        for Found { key, record, .. } in samples {
            self.done.samples += 1;
            let (name, time) = (record.repo.as_deref().unwrap_or_default(), seconds(&record.time));
            let namespace = usage.namespaces.iter().find(|namespace| namespace.name == name);
            let (logical, unique) = (record.bytes_logical, record.bytes_unique);
            let sizes = Sizes { logical, unique, stored: record.bytes_stored };
            // Others may have pushed while it was taken.
            let same = namespace.is_some_and(|namespace| {
                let over = namespace.series.over(time.saturating_sub(SAMPLING)..time + 1);
                let within = |size, bounds: (u64, u64)| (bounds.0..=bounds.1).contains(&size);
                let bounds = over.min.with(over.max, |min, max| (min, max));
                let within = sizes.with(bounds, within);
                within.logical && within.unique && within.stored
            });
            if !same {
                odd.push(format!("{key} has another size of {name} than the logs add up to"));
            }
        }
        self.done.odd.extend(odd);
        Ok(())
    }
}
