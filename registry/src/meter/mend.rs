//! Taking usage records, seals, signatures and what is known of deleted objects from a replica.

use std::collections::HashSet;

use crate::error::Result;
use crate::keys;
use crate::meter::past;
use crate::meter::record::{Record, lines};
use crate::meter::seal::{Seal, Signed};
use crate::store::Store;

/// The number of objects that are read at a time.
const AT_A_TIME: usize = 256;

/// A folder of objects of the meter, and what tells whether the bytes of one are whole.
type Kind = (&'static str, fn(&str, &[u8]) -> bool);

/// The records come before the seals that name them.
const KINDS: [Kind; 4] = [
    (keys::PAST, |key, bytes| past::parse(key, bytes).is_ok()),
    (keys::METER, |_, bytes| lines(bytes).all(|line| Record::parse(line).is_some())),
    (keys::SEALS, |key, bytes| Seal::parse(key, bytes).is_ok()),
    (keys::SIGNATURES, |_, bytes| serde_json::from_slice::<Signed>(bytes).is_ok()),
];

impl Store {
    /// Takes what is missing or damaged of what the meter has from a copy of this store; returns
    /// the number of objects. `left` gets what the copy does not have.
    pub(crate) fn mend_meter(&self, replica: &Store, left: &mut Vec<String>) -> Result<u64> {
        if !self.is_copied_by(replica)? {
            return Ok(0);
        }
        let mut mended = 0;
        for (folder, is_whole) in KINDS {
            let listed = |store: &Store| -> Result<Vec<String>> {
                let listed = store.objects.list(folder)?;
                Ok(listed.into_iter().map(|meta| meta.key).collect())
            };
            let (ours, theirs) = (listed(self)?, listed(replica)?);
            let mut lost: Vec<String> = Vec::new();
            for some in ours.chunks(AT_A_TIME) {
                for (key, bytes) in some.iter().zip(self.objects.get_all(some)?) {
                    if !bytes.is_some_and(|bytes| is_whole(key, &bytes)) {
                        lost.push(key.clone());
                    }
                }
            }
            let damaged: HashSet<_> = lost.iter().cloned().collect();
            let ours: HashSet<_> = ours.into_iter().collect();
            lost.extend(theirs.into_iter().filter(|key| !ours.contains(key)));
            for some in lost.chunks(AT_A_TIME) {
                for (key, bytes) in some.iter().zip(replica.objects.get_all(some)?) {
                    match bytes.filter(|bytes| is_whole(key, bytes)) {
                        Some(bytes) => {
                            self.objects.put(key, bytes.to_vec())?;
                            mended += 1;
                        }
                        None if damaged.contains(key) => left.push(format!("{key}: is damaged")),
                        None => {}
                    }
                }
            }
        }
        Ok(mended)
    }

    /// Whether another store has a log of this one: what the meter has says nowhere whose it is.
    fn is_copied_by(&self, replica: &Store) -> Result<bool> {
        for meta in replica.objects.list(keys::REPOS)? {
            if keys::entry(keys::parent(&meta.key), 0) == meta.key
                && let Some(theirs) = replica.objects.get(&meta.key)?
                && self.objects.get(&meta.key)? == Some(theirs)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
