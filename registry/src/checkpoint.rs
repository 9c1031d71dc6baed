//! Checkpoints of logs: the entries up to some number in one object, so that a long log is read by
//! few requests. They say nothing that the entries do not: one that is missing, damaged or of
//! another log costs requests.

use std::collections::HashMap;

use at1w_remote::{Meta, Objects};
use bytes::Bytes;

use crate::error::Result;
use crate::keys;
use crate::log;

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

/// Writes checkpoints of the logs whose entries were listed, where many entries follow the last one.
pub(crate) fn renew(objects: &Objects, listed: &[Meta]) -> Result<()> {
    let mut before: HashMap<String, Vec<String>> = HashMap::new();
    for meta in objects.list(keys::CHECKPOINTS)? {
        before.entry(keys::parent(&meta.key).to_owned()).or_default().push(meta.key);
    }
    for entries in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
        let log = keys::parent(&entries[0].key);
        let folder = keys::checkpoints(log);
        let before = before.remove(&folder).unwrap_or_default();
        let covered = before.last().map_or(0, |key| number(key) + 1);
        let last = number(&entries[entries.len() - 1].key);
        if last + 1 < covered + EVERY {
            continue;
        }
        let entries = match log::read_chain(objects, log, last) {
            // Who reads the log is told.
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

fn number(key: &str) -> u64 {
    keys::last_part(key).parse().unwrap_or(0)
}
