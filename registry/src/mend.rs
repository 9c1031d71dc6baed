//! Taking logs, trees and recipes that are missing or damaged from a replica: each says by its
//! SHA-256, or by that in the entry after it, that it is the right one.

use std::collections::HashMap;

use at1w_container::Digest;
use at1w_remote::{Created, Meta};

use crate::error::Result;
use crate::keys;
use crate::log::Head;
use crate::mark::Part;
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tree::Tree;

impl Store {
    /// Takes what is broken from a replica; returns the number of objects.
    pub(crate) fn mend(&self, namespace: &str, replica: &Store, part: &Part) -> Result<u64> {
        match part {
            Part::Log(folder) => self.mend_log(replica, folder),
            Part::Tree(digest, _) => self.mend_tree(namespace, replica, *digest),
            Part::Recipe(sha256) => self.mend_recipe(namespace, replica, *sha256),
        }
    }

    fn mend_tree(&self, namespace: &str, replica: &Store, digest: Digest) -> Result<u64> {
        let folder = keys::tree(namespace, digest);
        for meta in replica.objects.list(&folder)? {
            let Some(bytes) = replica.objects.get(&meta.key)? else { continue };
            if Tree::parse(&bytes, digest).is_ok() {
                self.objects.put(&format!("{folder}/{}", keys::next(None)), bytes)?;
                return Ok(1);
            }
        }
        Ok(0)
    }

    /// Takes the newest recipe of a file. What it names and is not here is repaired then.
    pub(crate) fn mend_recipe(
        &self,
        namespace: &str,
        replica: &Store,
        sha256: Digest,
    ) -> Result<u64> {
        let found = match Recipe::newest(&replica.objects, namespace, sha256) {
            Err(error) if error.is_integrity() => None,
            found => found?,
        };
        let Some((_, recipe)) = found else { return Ok(0) };
        if Recipe::newest(&self.objects, namespace, sha256)
            .is_ok_and(|mine| mine.is_some_and(|(_, mine)| mine == recipe))
        {
            return Ok(0);
        }
        let folder = keys::recipes(namespace, sha256);
        let listed = self.objects.list(&folder)?;
        let last = listed.last().map(|meta| keys::last_part(&meta.key));
        let key = format!("{folder}/{}", keys::next(last));
        self.objects.put(&key, recipe.to_bytes())?;
        Ok(1)
    }

    /// Takes the entries that are missing, or that are others than the entry after them says.
    fn mend_log(&self, replica: &Store, folder: &str) -> Result<u64> {
        let read = |store: &Store| -> Result<HashMap<String, Vec<u8>>> {
            let keys: Vec<_> = store.objects.list(folder)?.into_iter().map(key_of).collect();
            let bytes = store.objects.get_all(&keys)?;
            let there = keys.into_iter().zip(bytes);
            Ok(there.filter_map(|(key, bytes)| Some((key, bytes?.to_vec()))).collect())
        };
        let (ours, theirs) = (read(self)?, read(replica)?);
        let entry = |from: &HashMap<String, Vec<u8>>, seq: u64| {
            let key = keys::entry(folder, seq);
            Head::of(&key, from.get(&key)?).ok()
        };
        let mut before = Digest::of(b"");
        let mut mended = 0;
        for seq in 0.. {
            let key = keys::entry(folder, seq);
            let Some(good) = entry(&theirs, seq).filter(|head| head.entry.prev == before) else {
                break;
            };
            before = good.digest;
            let mine = entry(&ours, seq);
            if mine.as_ref().is_some_and(|mine| mine.digest == good.digest) {
                continue;
            }
            let followed = entry(&ours, seq + 1).is_some_and(|next| next.entry.prev == good.digest);
            match (ours.contains_key(&key), mine) {
                // No entry of ours follows: it may be one that never was here.
                (false, _) if !ours.keys().any(|other| *other > key) => break,
                (false, _) => {
                    let made = self.objects.create(&key, theirs[&key].clone())?;
                    mended += u64::from(made == Created::Made);
                }
                // It is another entry than the replica's, and which one is right is not for us.
                (true, Some(_)) if !followed => break,
                (true, _) => {
                    self.objects.put(&key, theirs[&key].clone())?;
                    mended += 1;
                }
            }
        }
        Ok(mended)
    }
}

fn key_of(meta: Meta) -> String {
    meta.key
}
