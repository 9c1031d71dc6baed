//! The packs that a push may rely on.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use at1w_remote::Objects;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::recipe::{Location, Recipe};

/// What the collector has condemned: it is deleted after the grace, unless it is in use again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) keys: Vec<String>,
}

impl Tombstone {
    pub(crate) fn parse(key: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::damaged(key, error))
    }
}

/// A tensor or a file that a scrub found damaged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) location: Location,
    pub(crate) problem: String,
    pub(crate) time: String,
}

/// The packs of which every byte was read and proven by a scrub.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Proven {
    pub(crate) packs: Vec<String>,
    pub(crate) time: String,
}

/// What nobody may rely on in a namespace, though it is there.
#[derive(Debug)]
pub(crate) struct Doubts {
    /// Objects that the collector has condemned.
    condemned: HashSet<String>,
    /// Damaged places, with the objects that mark them.
    pub(crate) marks: HashMap<Location, Vec<String>>,
}

impl Doubts {
    pub(crate) fn load(objects: &Objects, namespace: &str) -> Result<Self> {
        let condemned = condemned(objects, namespace)?;
        Ok(Self { condemned, marks: marks(objects, namespace)? })
    }

    /// Whether a recipe, and everything that it names, is beyond doubt as far as it is there.
    pub(crate) fn spare(&self, namespace: &str, name: &str, recipe: &Recipe) -> bool {
        let key = format!("{}/{name}", keys::recipes(namespace, recipe.sha256));
        !self.condemned.contains(&key)
            && recipe.locations().all(|location| self.spare_place(namespace, &location))
    }

    /// Whether stored bytes are beyond doubt as far as they are there.
    pub(crate) fn spare_place(&self, namespace: &str, location: &Location) -> bool {
        !self.condemned.contains(&keys::pack(namespace, &location.pack))
            && !self.marks.contains_key(location)
    }
}

/// The state of a namespace, as a push sees it after its lease began.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) doubts: Doubts,
    /// The packs that are there: their lengths, and whether they were proven lately.
    pub(crate) packs: HashMap<String, (u64, bool)>,
}

impl View {
    /// Looks at a namespace. The order matters: what is condemned is read before the list of packs,
    /// so that a pack whose condemnation was lifted by its deletion is not on the list.
    pub(crate) fn load(
        objects: &Objects,
        namespace: &str,
        lease: &Lease,
        promise: Duration,
    ) -> Result<Self> {
        let doubts = Doubts::load(objects, namespace)?;
        let listed = objects.list(&keys::packs(namespace))?;
        let proven = proven(objects, namespace, lease.began, promise)?;
        let packs = listed.iter().map(|meta| {
            let id = keys::last_part(&meta.key).to_owned();
            let young = lease.began.duration_since(meta.modified).unwrap_or_default() <= promise;
            let fresh = young || proven.contains(&id);
            (id, (meta.len, fresh))
        });
        let packs = packs.collect();
        Ok(Self { doubts, packs })
    }

    /// Whether a push may rely on stored bytes: their pack is there and not condemned, and they are
    /// not known to be damaged.
    pub(crate) fn usable(&self, namespace: &str, location: &Location) -> bool {
        self.packs.contains_key(&location.pack) && self.doubts.spare_place(namespace, location)
    }

    /// Whether a push may rely on a recipe and on all that it names.
    pub(crate) fn is_usable(&self, namespace: &str, name: &str, recipe: &Recipe) -> bool {
        self.doubts.spare(namespace, name, recipe)
            && recipe.packs.iter().all(|pack| self.packs.contains_key(&pack.id))
    }

    /// Whether the bytes of a pack were proven lately, so that a hit on them is a promise.
    pub(crate) fn is_fresh(&self, pack: &str) -> bool {
        self.packs.get(pack).is_some_and(|&(_, fresh)| fresh)
    }
}

/// Reads what is condemned in a namespace.
pub(crate) fn condemned(objects: &Objects, namespace: &str) -> Result<HashSet<String>> {
    let mut condemned = HashSet::new();
    let listed = objects.list(&keys::tombstones(namespace))?;
    let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
    for (key, bytes) in listed.iter().zip(objects.get_all(&listed)?) {
        // One that was listed and is gone by now has done its work: what it named is deleted.
        let Some(bytes) = bytes else { continue };
        condemned.extend(Tombstone::parse(key, &bytes)?.keys);
    }
    Ok(condemned)
}

/// Reads the marks of damaged places.
pub(crate) fn marks(objects: &Objects, namespace: &str) -> Result<HashMap<Location, Vec<String>>> {
    let mut marks: HashMap<Location, Vec<String>> = HashMap::new();
    let listed = objects.list(&keys::marks(namespace))?;
    let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
    for (key, bytes) in listed.iter().zip(objects.get_all(&listed)?) {
        let Some(bytes) = bytes else { continue };
        let mark: Mark =
            serde_json::from_slice(&bytes).map_err(|error| Error::damaged(key, error))?;
        marks.entry(mark.location).or_default().push(key.clone());
    }
    Ok(marks)
}

/// Reads which packs were proven within the time that a promise lasts.
fn proven(
    objects: &Objects,
    namespace: &str,
    now: SystemTime,
    promise: Duration,
) -> Result<HashSet<String>> {
    let listed = objects.list(&keys::scrubs(namespace))?;
    let recent = listed
        .into_iter()
        .filter(|meta| now.duration_since(meta.modified).unwrap_or_default() <= promise);
    let recent: Vec<_> = recent.map(|meta| meta.key).collect();
    let mut packs = HashSet::new();
    for bytes in objects.get_all(&recent)?.into_iter().flatten() {
        // A record that cannot be read proves nothing.
        if let Ok(proven) = serde_json::from_slice::<Proven>(&bytes) {
            packs.extend(proven.packs);
        }
    }
    Ok(packs)
}
