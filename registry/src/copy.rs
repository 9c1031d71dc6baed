//! Copying a store: a backup, or a move to another place. What logs name comes first, and the logs
//! last, so that the copy is whole at any moment.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use at1w_container::{Progress, ReadAt};
use at1w_remote::{Created, RemoteFile};

use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::mark::mark;
use crate::store::Store;

/// The number of bytes that are copied at a time.
const PIECE: u64 = 8 << 20;

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
    pub fn copy_to(&self, target: &Store, progress: &dyn Progress) -> Result<Copied> {
        self.require()?;
        target.init()?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        // Logs first: all that they name now stays until the lease ends.
        let logs = self.objects.list(keys::REPOS)?;
        let marked = mark(self, lease.began, Duration::ZERO)?;
        let mut done = Copied::default();
        for (namespace, marked) in &marked {
            let there: HashSet<_> = [
                keys::packs(namespace),
                keys::files(namespace),
                keys::trees(namespace),
                keys::index(namespace),
            ]
            .iter()
            .map(|folder| target.objects.list(folder))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .map(|meta| meta.key)
            .collect();
            let runs = self.objects.list(&keys::index(namespace))?;
            let mut wanted: Vec<_> = marked.keys.iter().cloned().collect();
            wanted.extend(runs.into_iter().map(|meta| meta.key));
            wanted.sort_by_key(|key| (!key.starts_with("packs/"), key.clone()));
            for key in wanted {
                if there.contains(&key) {
                    done.kept += 1;
                } else if self.copy_object(target, &key, progress, &mut done)? {
                    done.objects += 1;
                }
            }
        }
        for meta in logs {
            let Some(bytes) = self.objects.get(&meta.key)? else { continue };
            match target.objects.create(&meta.key, bytes.clone())? {
                Created::Made => done.objects += 1,
                Created::Existed if target.objects.get(&meta.key)? == Some(bytes) => done.kept += 1,
                Created::Existed => {
                    let seq = keys::last_part(&meta.key).parse().unwrap_or(0);
                    let problem = format!("{} has another entry there", target.address());
                    return Err(Error::Log { repo: meta.key, seq, problem });
                }
            }
        }
        Ok(done)
    }

    /// Copies an object; returns whether it is still there.
    fn copy_object(
        &self,
        target: &Store,
        key: &str,
        progress: &dyn Progress,
        done: &mut Copied,
    ) -> Result<bool> {
        let Some(meta) = self.objects.head(key)? else { return Ok(false) };
        let source = RemoteFile::known(self.objects.clone(), key, meta.len);
        let mut upload = target.objects.upload(key)?;
        let failed = |cause| Error::Io { path: key.into(), cause };
        let mut at = 0;
        while at < meta.len {
            if progress.cancelled() {
                return Err(at1w_container::Error::Cancelled.into());
            }
            let to = meta.len.min(at + PIECE);
            let bytes = source.read_at(at..to).map_err(failed)?;
            upload.write_all(&bytes).map_err(failed)?;
            progress.advance(to - at);
            at = to;
        }
        upload.finish()?;
        done.bytes += meta.len;
        Ok(true)
    }
}
