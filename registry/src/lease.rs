//! The lease of a running push, by which the collector knows that it runs.
//!
//! Its objects are one for each renewal, and a claim for each log that the push appends to. The
//! first one is there until the collector ends the lease. A claim is made before the push looks for
//! the first one, and appends: so the collector, which deletes the first one and lists the claims
//! then, finds every log for which an entry may be on its way, and puts a fence there.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use at1w_remote::{Meta, Objects};

use crate::error::{Error, Result};
use crate::keys;

/// A lease: it is held from before the first look-up of a push until its entry is in the log, and
/// renewed meanwhile. Each renewal is an object of its own, so that the store's time of the first
/// one tells when the push began.
#[derive(Debug)]
pub(crate) struct Lease {
    objects: Arc<Objects>,
    folder: String,
    /// The time of the store when the lease began.
    pub(crate) began: SystemTime,
    /// The time of this machine at that moment.
    since: Instant,
    ttl: Duration,
    /// The logs that it has claimed.
    claimed: Mutex<HashSet<String>>,
    state: Arc<State>,
    renewer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    renewed: Mutex<Instant>,
    stopped: AtomicBool,
    /// Whether the objects of the lease are left behind.
    left: AtomicBool,
    stop: (Mutex<()>, Condvar),
}

/// Returns the key of the first object of a lease.
fn first(folder: &str) -> String {
    format!("{folder}/{:08}", 0)
}

/// Returns the key of the claim of a log.
fn claim(folder: &str, log: &str) -> String {
    format!("{folder}/{}", log.replace('/', "="))
}

/// Returns the log that an object of a lease claims.
fn claimed(key: &str) -> Option<String> {
    let log = keys::last_part(key).replace('=', "/");
    log.starts_with(keys::REPOS).then_some(log)
}

impl Lease {
    /// Begins a lease that ends `ttl` after its last renewal.
    pub(crate) fn begin(objects: &Arc<Objects>, ttl: Duration) -> Result<Self> {
        let folder = format!("{}/{}", keys::LEASES, keys::random());
        let began = Instant::now();
        // A lease of a process that has ended is none: no power cut can undo anything.
        objects.put_unsynced(&first(&folder), Vec::new())?;
        let meta = objects.head(&first(&folder))?;
        let meta = meta.ok_or_else(|| Error::damaged(&folder, "the lease is not there"))?;
        let since = Instant::now();
        let state = Arc::new(State {
            renewed: Mutex::new(began),
            stopped: AtomicBool::new(false),
            left: AtomicBool::new(false),
            stop: (Mutex::new(()), Condvar::new()),
        });
        let renewer = {
            let (objects, folder, state) = (objects.clone(), folder.clone(), state.clone());
            thread::Builder::new()
                .name("at1w lease".into())
                .spawn(move || renew(&objects, &folder, ttl / 15, &state))
                .map_err(at1w_remote::Error::Threads)?
        };
        let (objects, claimed) = (objects.clone(), Mutex::default());
        let (began, renewer) = (meta.modified, Some(renewer));
        Ok(Self { objects, folder, began, since, ttl, claimed, state, renewer })
    }

    /// Returns the time of the store, which all writers agree on: entries and records have it.
    pub(crate) fn now(&self) -> SystemTime {
        self.began + self.since.elapsed()
    }

    /// Checks that the collector has not given up on the push, and will not within the next
    /// moments: before anything is written that others come to rely on.
    pub(crate) fn check(&self, what: &str) -> Result<()> {
        let renewed = *self.state.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock may stand still while the machine sleeps: the store is asked as well. It is read,
        // since a network file system may answer from memory whether it is there.
        if renewed.elapsed() > self.ttl / 2 || self.objects.get(&first(&self.folder))?.is_none() {
            return Err(Error::Expired(what.into()));
        }
        Ok(())
    }

    /// Claims a log, and checks the lease: an entry that is sent now is either there before the
    /// collector goes on, or never comes.
    pub(crate) fn claim(&self, log: &str, what: &str) -> Result<()> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if !claimed.contains(log) {
            self.objects.put_unsynced(&claim(&self.folder, log), Vec::new())?;
            claimed.insert(log.into());
        }
        drop(claimed);
        self.check(what)
    }

    /// Has the lease end by itself, later: an entry that the store did not answer for may still
    /// come.
    pub(crate) fn leave(&self) {
        self.state.left.store(true, Ordering::Relaxed);
    }
}

fn renew(objects: &Objects, folder: &str, every: Duration, state: &State) {
    let (lock, stop) = &state.stop;
    let mut seq = 0;
    let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.stopped.load(Ordering::Relaxed) {
        let waited = stop.wait_timeout(guard, every).unwrap_or_else(PoisonError::into_inner);
        guard = waited.0;
        if state.stopped.load(Ordering::Relaxed) {
            return;
        }
        seq += 1;
        let began = Instant::now();
        // A lease that the collector has ended is not begun again: its end is noticed.
        if objects.put_unsynced(&format!("{folder}/{seq:08}"), Vec::new()).is_ok() {
            *state.renewed.lock().unwrap_or_else(PoisonError::into_inner) = began;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.state.stop.1.notify_all();
        if let Some(renewer) = self.renewer.take() {
            let _ = renewer.join();
        }
        if self.state.left.load(Ordering::Relaxed) {
            return;
        }
        // Best effort: a lease that is left ends by itself.
        if let Ok(listed) = self.objects.list(&self.folder) {
            let keys: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
            let _ = self.objects.delete(&keys);
        }
    }
}

/// The leases of a store, as the collector sees them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// The beginnings of those that are held.
    pub(crate) live: Vec<SystemTime>,
    /// The folders of those that have ended.
    ended: HashSet<String>,
}

/// What the holders of leases that have ended leave behind.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// The logs that they have claimed, each with the claims.
    pub(crate) claims: BTreeMap<String, Vec<String>>,
    /// Their other objects.
    pub(crate) others: Vec<String>,
}

impl Leases {
    /// Lists the leases of a store whose clock says `now`.
    pub(crate) fn list(objects: &Objects, now: SystemTime, ttl: Duration) -> Result<Self> {
        let listed = objects.list(keys::LEASES)?;
        let mut leases = Self::default();
        for lease in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
            let began = lease.iter().map(|meta| meta.modified).min().unwrap_or(now);
            let renewed = lease.iter().map(|meta| meta.modified).max().unwrap_or(now);
            // Without its first object a lease was ended before: it was renewed once more, or the
            // collector died before its logs had fences.
            let whole = lease.first().is_some_and(|meta| keys::last_part(&meta.key) == "00000000");
            if whole && now.duration_since(renewed).unwrap_or_default() <= ttl {
                leases.live.push(began);
            } else {
                leases.ended.insert(keys::parent(&lease[0].key).to_owned());
            }
        }
        Ok(leases)
    }

    /// Ends those leases that have ended: from then on no check of them passes. Their other objects
    /// stay.
    pub(crate) fn end(&self, objects: &Objects) -> Result<Remains> {
        if self.ended.is_empty() {
            return Ok(Remains::default());
        }
        objects.delete(&self.ended.iter().map(|folder| first(folder)).collect::<Vec<_>>())?;
        let mut remains = Remains::default();
        for Meta { key, .. } in objects.list(keys::LEASES)? {
            if !self.ended.contains(keys::parent(&key)) {
                continue;
            }
            match claimed(&key) {
                Some(log) => remains.claims.entry(log).or_default().push(key),
                None => remains.others.push(key),
            }
        }
        Ok(remains)
    }
}
