//! Copying a store: a backup, or a move to another place. What logs name comes first, and the logs
//! last, so that the copy is whole at any moment.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use at1w_container::{Progress, ReadAt};
use at1w_remote::{Created, Meta, RemoteFile};

use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::log;
use crate::mark::{Marked, survey};
use crate::recipe::Recipe;
use crate::store::Store;
use crate::view::Tombstone;

/// The number of bytes that are copied at a time.
const PIECE: u64 = 8 << 20;

/// The number of times that a recipe is asked for while others supersede it.
const TRIES: u32 = 4;

/// The outcome of a copy.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Copied {
    /// The number of objects that were copied.
    pub objects: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// The number of objects that were there already.
    pub kept: u64,
}

impl Store {
    /// Copies everything that is in use to another store, which is made where there is none, and
    /// which holds copies of this store only. What is there already is not copied again.
    ///
    /// # Errors
    /// [`Error::Log`] if the other store has commits of its own, and those of both stores.
    /// [`Error::Damaged`] and [`Error::Log`] at the end, after all the rest was copied, if what is
    /// in use is missing here, or is damaged so that what it names cannot be told.
    pub fn copy_to(&self, target: &Store, progress: &dyn Progress) -> Result<Copied> {
        self.require()?;
        target.init()?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        // Nothing names what is copied until the logs are there.
        let _held = Lease::begin(&target.objects, target.times.lease)?;
        // Logs first: all that they name now stays until the lease ends.
        let logs = self.objects.list(keys::REPOS)?;
        let marked = survey(self, None, lease.began, Duration::ZERO, log::read_all)?;
        let mut copy =
            Copy { from: self, to: target, progress, done: Copied::default(), lost: None };
        for (namespace, marked) in &marked {
            copy.spare(namespace, marked)?;
            let there = copy.bring(namespace, marked)?;
            copy.done.kept += there;
        }
        // Entries name their usage records.
        copy.meter()?;
        for log in logs.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
            copy.log(log)?;
        }
        // Of what was deleted meanwhile.
        copy.meter()?;
        // What a collector that ran at the same time deleted before the logs came.
        for (namespace, marked) in &marked {
            copy.bring(namespace, marked)?;
        }
        let broken = marked.into_values().find_map(|mut marked| marked.broken.pop());
        match copy.lost.or(broken.map(|broken| broken.error)) {
            Some(error) => Err(error),
            None => Ok(copy.done),
        }
    }
}

/// A copy that is being made.
struct Copy<'a> {
    from: &'a Store,
    to: &'a Store,
    progress: &'a dyn Progress,
    done: Copied,
    /// The first object in use that is missing.
    lost: Option<Error>,
}

impl Copy<'_> {
    /// Lifts what condemns objects of the target that are in use here.
    fn spare(&self, namespace: &str, marked: &Marked) -> Result<()> {
        let objects = &self.to.objects;
        let folder = keys::tombstones(namespace);
        for meta in objects.list(&folder)? {
            let Some(bytes) = objects.get(&meta.key)? else { continue };
            let mut tombstone = Tombstone::parse(&meta.key, &bytes)?;
            let before = tombstone.keys.len();
            tombstone.keys.retain(|key| !marked.keys.contains(key));
            if tombstone.keys.len() == before {
                continue;
            }
            if !tombstone.keys.is_empty() {
                let json = serde_json::to_vec(&tombstone).expect("a tombstone is plain data");
                objects.put(&format!("{folder}/{}", keys::next(None)), json)?;
            }
            objects.delete(&[meta.key])?;
        }
        Ok(())
    }

    /// Copies what is in use in a namespace and is not there; returns the number of objects that
    /// are.
    fn bring(&mut self, namespace: &str, marked: &Marked) -> Result<u64> {
        let mut there = HashSet::new();
        for folder in [keys::packs, keys::files, keys::trees, keys::index] {
            let listed = self.to.objects.list(&folder(namespace))?;
            there.extend(listed.into_iter().map(|meta| meta.key));
        }
        let runs = self.from.objects.list(&keys::index(namespace))?;
        let runs: HashSet<_> = runs.into_iter().map(|meta| meta.key).collect();
        let mut wanted: Vec<_> = marked.keys.iter().chain(&runs).collect();
        wanted.sort_by_key(|key| (!key.starts_with("packs/"), *key));
        let mut kept = 0;
        for key in wanted {
            if there.contains(key) {
                kept += 1;
                continue;
            }
            // Runs of the index are merged at any time, and cost space alone.
            if self.object(key)? || runs.contains(key) || self.superseding(namespace, key)? {
                continue;
            }
            let problem = "it is missing, and revisions in the copy need it";
            self.lost.get_or_insert_with(|| Error::damaged(key, problem));
        }
        Ok(kept)
    }

    /// Copies the recipe that has superseded one, and the packs that it names; returns whether
    /// there is one.
    fn superseding(&mut self, namespace: &str, key: &str) -> Result<bool> {
        let folder = keys::parent(key);
        let sha256 = keys::last_part(folder).parse();
        let (true, Ok(sha256)) = (key.starts_with("files/"), sha256) else { return Ok(false) };
        for _ in 0..TRIES {
            let newest = Recipe::newest(&self.from.objects, namespace, sha256)?;
            let Some((name, recipe)) = newest else { return Ok(false) };
            let packs = recipe.packs.iter().map(|pack| keys::pack(namespace, &pack.id));
            let mut there = true;
            for key in packs.chain([format!("{folder}/{name}")]) {
                if self.to.objects.head(&key)?.is_none() {
                    there &= self.object(&key)?;
                }
            }
            if there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies what the meter has: usage records, and what it knows of objects that were deleted.
    fn meter(&mut self) -> Result<()> {
        // Seals are listed before the records that they seal, and copied after them.
        let folders = [keys::SIGNATURES, keys::SEALS, keys::METER, keys::PAST];
        let listed = folders.map(|folder| self.from.objects.list(folder));
        for (folder, listed) in folders.into_iter().zip(listed).rev() {
            let there = self.to.objects.list(folder)?;
            let there: HashSet<_> = there.into_iter().map(|meta| meta.key).collect();
            for meta in listed?.into_iter().filter(|meta| !there.contains(&meta.key)) {
                self.object(&meta.key)?;
            }
        }
        Ok(())
    }

    /// Copies the entries of a log: of one that is whole, since a damaged entry would take the
    /// place of a good one.
    fn log(&mut self, listed: &[Meta]) -> Result<()> {
        let folder = keys::parent(&listed[0].key);
        let chain = log::last_of(folder, listed)
            .and_then(|last| log::read_chain(&self.from.objects, folder, last));
        let entries = match chain {
            // The survey has found it as well.
            Err(error) if error.is_integrity() => return Ok(()),
            chain => chain?.0,
        };
        for (seq, bytes) in (0..).zip(entries) {
            let key = keys::entry(folder, seq);
            match self.to.objects.create(&key, bytes.clone())? {
                Created::Made => self.done.objects += 1,
                Created::Existed if self.to.objects.get(&key)? == Some(bytes) => {
                    self.done.kept += 1;
                }
                Created::Existed => {
                    let problem = format!("{} has another entry there", self.to.address());
                    return Err(Error::Log { repo: folder.into(), seq, problem });
                }
            }
        }
        Ok(())
    }

    /// Copies an object; returns whether it is still there.
    fn object(&mut self, key: &str) -> Result<bool> {
        let Some(meta) = self.from.objects.head(key)? else { return Ok(false) };
        let source = RemoteFile::known(self.from.objects.clone(), key, meta.len);
        let mut upload = self.to.objects.upload(key)?;
        let failed = |cause| Error::Io { path: key.into(), cause };
        let mut at = 0;
        while at < meta.len {
            if self.progress.cancelled() {
                return Err(at1w_container::Error::Cancelled.into());
            }
            let to = meta.len.min(at + PIECE);
            let bytes = source.read_at(at..to).map_err(failed)?;
            upload.write_all(&bytes).map_err(failed)?;
            self.progress.advance(to - at);
            at = to;
        }
        upload.finish()?;
        self.done.objects += 1;
        self.done.bytes += meta.len;
        Ok(true)
    }
}
