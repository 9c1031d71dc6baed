//! Checkpoints of logs: the entries up to some number in one object, so that a long log is read by
//! few requests. They say nothing that the entries do not: one that is missing, damaged or of
//! another log costs requests.

use at1w_remote::Objects;
use bytes::Bytes;

use crate::error::Result;
use crate::keys;

/// The number of entries since the last checkpoint from which on the collector writes another one.
pub(crate) const EVERY: u64 = 64;

/// Returns the first entries of a log as they are stored, none after number `last`; nothing where
/// there is no checkpoint.
pub(crate) fn read(objects: &Objects, log: &str, last: u64) -> Result<Vec<Bytes>> {
    if last < EVERY {
        return Ok(Vec::new());
    }
    let listed = objects.list(&keys::checkpoints(log))?;
    for meta in listed.iter().rev().filter(|meta| number(&meta.key) <= last) {
        // One that was listed may be superseded by now.
        let Some(bytes) = objects.get(&meta.key)? else { continue };
        let entries: Vec<_> =
            bytes.split(|&byte| byte == b'\n').map(|e| bytes.slice_ref(e)).collect();
        if entries.len() as u64 == number(&meta.key) + 1 {
            return Ok(entries);
        }
    }
    Ok(Vec::new())
}

/// Returns the number of the last entry in a checkpoint.
pub(crate) fn number(key: &str) -> u64 {
    keys::last_part(key).parse().unwrap_or(0)
}
