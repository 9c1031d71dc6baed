//! Collecting what nothing names any more.
//!
//! A first run condemns, a later one deletes what is condemned for longer than the grace and still
//! in no use. A push holds a lease from before its first look, and does not rely on what it sees
//! condemned. So whatever a running push relies on was condemned after its lease began, if at all,
//! and stays while the lease lives. A push whose lease has ended appends nothing any more: see
//! `fence.rs`. Times are those of the store.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use at1w_remote::Meta;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::index::{self, Stored};
use crate::keys;
use crate::lease::{Lease, Leases};
use crate::log;
use crate::mark::{Broken, Marked, Part, survey};
use crate::meter::past;
use crate::prove::{Proof, pack_lens};
use crate::recipe::{Form, Location, Moved, Moves};
use crate::relocate::{Newest, relocate};
use crate::stats::write_summary;
use crate::store::Store;
use crate::view::{Tombstone, condemned, marks};

/// The time that clocks of one store may differ by: some tell whole seconds only.
const SLACK: Duration = Duration::from_secs(2);

/// The number of runs of an index from which on they are merged.
const MANY_RUNS: usize = 8;

/// How a store is collected.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CollectOptions {
    /// How long what is in no use is kept. Default 28 days.
    pub grace: Duration,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(28 * 24 * 3600), dry_run: false }
    }
}

impl CollectOptions {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long what is in no use is kept.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Sets whether to do nothing.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }
}

/// The outcome of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Collected {
    /// The number of objects that were deleted.
    pub deleted: u64,
    /// Their length, in bytes.
    pub freed: u64,
    /// The number of objects that were condemned.
    pub condemned: u64,
    /// Their length, in bytes.
    pub condemned_bytes: u64,
    /// The number of packs that were rewritten because less than half of them was in use.
    pub rewritten: u64,
    /// The number of pushes that run.
    pub leases: u64,
}

impl Store {
    /// Collects what nothing names: deletes what was condemned at least the grace ago, and condemns
    /// what is in no use now.
    ///
    /// # Errors
    /// [`Error::Grace`] while somebody pushes; [`Error::Damaged`] and [`Error::Log`] if what is in
    /// use in a namespace cannot be told. Nothing of that one is deleted then; others are
    /// collected.
    pub fn collect(&self, options: &CollectOptions) -> Result<Collected> {
        self.require()?;
        let first = self.collect_once(options)?;
        if !options.grace.is_zero() || options.dry_run {
            return Ok(first);
        }
        // Nobody pushes: what was condemned a moment ago goes as well.
        let second = self.collect_once(options)?;
        Ok(Collected {
            deleted: first.deleted + second.deleted,
            freed: first.freed + second.freed,
            rewritten: first.rewritten + second.rewritten,
            ..second
        })
    }

    fn collect_once(&self, options: &CollectOptions) -> Result<Collected> {
        let now = self.now()?;
        // Leases first: a push that is over by now has its entry in the log, and is marked.
        let leases = Leases::list(&self.objects, now, self.times.lease)?;
        let least = self.times.least_grace();
        if !leases.live.is_empty() && options.grace < least {
            return Err(Error::Grace {
                grace: options.grace.as_secs(),
                least: least.as_secs(),
                leases: leases.live.len(),
            });
        }
        // Before anything is marked: nothing comes of a push that was given up.
        let unfenced = if options.dry_run { Vec::new() } else { self.end_leases(&leases, now)? };
        let mut marked = survey(self, None, now, options.grace, log::read_all)?;
        for (log, error) in unfenced {
            let namespace = log.split('/').nth(1).unwrap_or_default().to_owned();
            let broken = Broken { part: Part::Log(log), error };
            marked.entry(namespace).or_default().broken.push(broken);
        }
        if !options.dry_run {
            log::renew_checkpoints(&self.objects, &self.objects.list(keys::REPOS)?)?;
        }
        let mut done = Collected { leases: leases.live.len() as u64, ..Collected::default() };
        for namespace in self.all_namespaces(&marked)? {
            let nothing = Marked::default();
            let marked = marked.get(&namespace).unwrap_or(&nothing);
            // What is in use there cannot be told.
            if !marked.broken.is_empty() {
                continue;
            }
            let run = Run { store: self, namespace: &namespace, marked, leases: &leases, now };
            let (listed, before) = (run.list()?, done.freed);
            run.delete(options, &listed, &mut done)?;
            run.condemn(options, &listed, &mut done)?;
            if !options.dry_run {
                done.rewritten += run.rewrite(&listed)?;
                run.merge_runs()?;
                run.forget()?;
                write_summary(self, &namespace, marked, &listed, done.freed - before)?;
            }
        }
        if !options.dry_run {
            let before = now.checked_sub(options.grace.max(self.times.lease));
            let before =
                if leases.live.is_empty() && options.grace.is_zero() { Some(now) } else { before };
            let before = before.unwrap_or(SystemTime::UNIX_EPOCH);
            done.deleted += self.objects.sweep(before)?;
            // Those of processes that died.
            let probes = self.objects.list(keys::PROBES)?.into_iter();
            let old = now.checked_sub(self.times.lease);
            let old = probes.filter(|probe| Some(probe.modified) < old).map(|probe| probe.key);
            self.objects.delete(&old.collect::<Vec<_>>())?;
        }
        match marked.into_values().find_map(|mut marked| marked.broken.pop()) {
            Some(Broken { error, .. }) => Err(error),
            None => Ok(done),
        }
    }

    /// Lists namespaces, also those whose repositories never came to be.
    fn all_namespaces(&self, marked: &BTreeMap<String, Marked>) -> Result<BTreeSet<String>> {
        let mut namespaces: BTreeSet<_> = marked.keys().cloned().collect();
        for folder in ["packs", "files", "trees", "tombstones"] {
            namespaces.extend(self.objects.folders(folder)?);
        }
        Ok(namespaces)
    }
}

/// A collection of one namespace.
struct Run<'a> {
    store: &'a Store,
    namespace: &'a str,
    marked: &'a Marked,
    leases: &'a Leases,
    now: SystemTime,
}

impl Run<'_> {
    /// Lists the objects that can be collected.
    fn list(&self) -> Result<Vec<Meta>> {
        let mut listed = Vec::new();
        for folder in
            [keys::packs(self.namespace), keys::files(self.namespace), keys::trees(self.namespace)]
        {
            listed.extend(self.store.objects.list(&folder)?);
        }
        Ok(listed)
    }

    /// Deletes what was condemned long enough ago, and is in no use.
    fn delete(
        &self,
        options: &CollectOptions,
        listed: &[Meta],
        done: &mut Collected,
    ) -> Result<()> {
        let objects = &self.store.objects;
        let lens: HashMap<_, _> = listed.iter().map(|meta| (meta.key.as_str(), meta.len)).collect();
        let tombstones = objects.list(&keys::tombstones(self.namespace))?;
        for tombstone in tombstones {
            let age = self.now.duration_since(tombstone.modified);
            if !options.grace.is_zero() && age.unwrap_or_default() < options.grace {
                continue;
            }
            // A push that began before may rely on what it could not see condemned.
            let relied = self.leases.live.iter().any(|&began| began <= tombstone.modified + SLACK);
            if relied {
                continue;
            }
            let Some(bytes) = objects.get(&tombstone.key)? else { continue };
            let condemned = Tombstone::parse(&tombstone.key, &bytes)?.keys;
            let unused = condemned.iter().filter(|key| !self.marked.keys.contains(*key));
            let unused: Vec<_> = unused.cloned().collect();
            let there = unused.iter().filter_map(|key| lens.get(key.as_str()));
            done.deleted += there.clone().count() as u64;
            done.freed += there.sum::<u64>();
            if !options.dry_run {
                past::delete(objects, self.namespace, &unused)?;
                // Only then: who sees no tombstone must not see what it named either.
                objects.delete(&[tombstone.key])?;
            }
        }
        Ok(())
    }

    /// Condemns what is in no use.
    fn condemn(
        &self,
        options: &CollectOptions,
        listed: &[Meta],
        done: &mut Collected,
    ) -> Result<()> {
        let objects = &self.store.objects;
        let before = condemned(objects, self.namespace)?;
        // What is younger than a running push, or than this run, may be that of a push. At rest
        // there is none.
        let at_rest = self.leases.live.is_empty() && options.grace.is_zero();
        let oldest = self.leases.live.iter().min().unwrap_or(&self.now);
        let unused: Vec<_> = listed
            .iter()
            .filter(|meta| !self.marked.keys.contains(&meta.key) && !before.contains(&meta.key))
            .filter(|meta| at_rest || meta.modified + SLACK < *oldest)
            .collect();
        // Some were deleted a moment ago.
        let there: HashSet<_> = self.list()?.into_iter().map(|meta| meta.key).collect();
        let unused: Vec<_> = unused.into_iter().filter(|meta| there.contains(&meta.key)).collect();
        done.condemned += unused.len() as u64;
        done.condemned_bytes += unused.iter().map(|meta| meta.len).sum::<u64>();
        if options.dry_run || unused.is_empty() {
            return Ok(());
        }
        let keys = unused.iter().map(|meta| meta.key.clone()).collect();
        let json = serde_json::to_vec(&Tombstone { keys }).expect("a tombstone is plain data");
        let key = format!("{}/{}", keys::tombstones(self.namespace), keys::next(None));
        Ok(objects.put(&key, json)?)
    }

    /// Copies what is in use out of packs of which less than half is; the rest of them is collected
    /// later.
    fn rewrite(&self, listed: &[Meta]) -> Result<u64> {
        let mut moves = Moves::new();
        let mut new = Vec::new();
        let mut rewritten = 0;
        let known = self.store.runs.load(&self.store.objects, self.namespace)?;
        let known: HashMap<&Location, &Stored> = known
            .iter()
            .flat_map(|run| run.iter())
            .map(|stored| (&stored.location, stored))
            .collect();
        let mut lease = None;
        let mut proof = Proof::default();
        let lens = pack_lens(self.store, self.namespace)?;
        for meta in listed {
            let pack = keys::last_part(&meta.key);
            let Some(places) = self.marked.places.get(pack) else { continue };
            if meta.key != keys::pack(self.namespace, pack) {
                continue;
            }
            let used: u64 = places.iter().map(|place| place.len).sum();
            if used >= meta.len / 2 {
                continue;
            }
            // Copies are young, and the young are relied on: only what is proven is copied.
            let recipes = self.marked.recipes.values().map(|(_, recipe)| recipe);
            for recipe in recipes.filter(|recipe| recipe.packs.iter().any(|p| p.id == pack)) {
                let wanted = |place: &Location| places.contains(place);
                proof.add(self.store, self.namespace, recipe, &lens, &wanted, &())?;
            }
            let mut places: Vec<_> = places.iter().filter(|p| proof.is_good(p)).collect();
            if places.is_empty() {
                continue;
            }
            places.sort();
            if lease.is_none() {
                lease = Some(Lease::begin(&self.store.objects, self.store.times.lease)?);
            }
            let (id, mut offset) = (keys::random(), 0);
            let mut upload = self.store.objects.upload(&keys::pack(self.namespace, &id))?;
            for place in places {
                let source =
                    at1w_remote::RemoteFile::known(self.store.objects.clone(), &meta.key, meta.len);
                let mut at = place.offset;
                while at < place.offset + place.len {
                    let to = (place.offset + place.len).min(at + (8 << 20));
                    let bytes = at1w_container::ReadAt::read_at(&source, at..to)
                        .map_err(|cause| Error::Io { path: meta.key.clone(), cause })?;
                    std::io::Write::write_all(&mut upload, &bytes)
                        .map_err(|cause| Error::Io { path: meta.key.clone(), cause })?;
                    at = to;
                }
                let location = Location { pack: id.clone(), offset, len: place.len };
                offset += place.len;
                moves.insert(place.clone(), Moved { location: location.clone(), form: Form::Same });
                if let Some(&stored) = known.get(place) {
                    new.push(Stored { location, ..stored.clone() });
                }
            }
            upload.finish()?;
            rewritten += 1;
        }
        if let Some(lease) = &lease {
            lease.check(self.namespace)?;
            relocate(self.store, self.namespace, &moves, lease, &mut Newest::new())?;
        }
        for ground in new.iter_mut().filter_map(|stored| stored.ground.as_mut()) {
            if let Some(moved) = ground.moved(&moves) {
                *ground = moved;
            }
        }
        index::write(&self.store.objects, self.namespace, new)?;
        drop(lease);
        Ok(rewritten)
    }

    /// Merges the runs of the index into one, without what lies in packs that are gone.
    fn merge_runs(&self) -> Result<()> {
        let objects = &self.store.objects;
        let listed = objects.list(&keys::index(self.namespace))?;
        let packs = objects.list(&keys::packs(self.namespace))?;
        let packs: HashSet<_> = packs.iter().map(|meta| keys::last_part(&meta.key)).collect();
        let runs = self.store.runs.load(objects, self.namespace)?;
        let all = || runs.iter().flat_map(|run| run.iter());
        let is_there = |place: &Location| packs.contains(&*place.pack);
        let gone = all().filter(|stored| !stored.all(is_there)).count();
        if listed.len() < MANY_RUNS && gone == 0 {
            return Ok(());
        }
        let kept = all().filter(|stored| stored.all(is_there)).cloned().collect();
        index::write(objects, self.namespace, kept)?;
        let merged: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
        Ok(objects.delete(&merged)?)
    }

    /// Deletes the marks of places that are gone.
    fn forget(&self) -> Result<()> {
        let packs = pack_lens(self.store, self.namespace)?;
        let marks = marks(&self.store.objects, self.namespace)?;
        let gone = marks.into_iter().filter(|(place, _)| !packs.contains_key(&place.pack));
        let gone: Vec<_> = gone.flat_map(|(_, keys)| keys).collect();
        Ok(self.store.objects.delete(&gone)?)
    }
}
