//! The index of a namespace: where the stored bytes of each tensor lie. A missing or damaged run
//! costs space and never data. One that is wrong and has the right SHA-256 is believed: a push
//! reads what it relies on only where nobody has proven the pack lately. A scrub finds what that
//! led to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use at1w_container::{Digest, StoredLen, TensorInfo};
use at1w_remote::Objects;

use crate::error::Result;
use crate::keys;
use crate::recipe::{Facts, Ground, Location};

/// The first bytes of a run, and of one of tensors that have bases: programs that know of none take
/// it for a damaged one.
const MAGIC: [u8; 8] = *b"at1wrun1";
const MAGIC_WITH_BASES: [u8; 8] = *b"at1wrun2";

/// The length of an entry: key, samples, pack, length of the model, offset, length.
const ENTRY_LEN: usize = 64;

/// What an entry with a base has more: SHA-256, content digest and file of the base, its pack and
/// the length of its model, offset, length, and whether it is rounded, in eight bytes.
const BASE_LEN: usize = 128;

/// The length of a row of the table of packs: id, level, encoder.
const PACK_LEN: usize = 48;

/// The name of a tensor in a namespace: the SHA-256 of its dtype, shape and SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TensorKey([u8; 32]);

impl TensorKey {
    pub(crate) fn of(tensor: &TensorInfo, digest: Digest) -> Self {
        Self(Digest::of(&described(b"at1w tensor key", tensor, &digest.0)).0)
    }

    /// Returns the key of the base of a tensor; one that is `rounded` is F32.
    pub(crate) fn of_base(tensor: &TensorInfo, rounded: bool, Digest(digest): Digest) -> Self {
        let dtype = rounded.then_some("F32");
        Self(Digest::of(&described_as(b"at1w tensor key", tensor, dtype, &digest)).0)
    }

    pub(crate) fn digest(self) -> Digest {
        Digest(self.0)
    }

    pub(crate) fn from_digest(Digest(key): Digest) -> Self {
        Self(key)
    }
}

/// The start of the SHA-256 of dtype, shape and a few bytes of a tensor: two tensors of one content
/// have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Samples(pub(crate) [u8; 8]);

impl Samples {
    pub(crate) fn of(tensor: &TensorInfo, samples: &[u8]) -> Self {
        let Digest(digest) = Digest::of(&described(b"at1w samples", tensor, samples));
        let mut start = [0; 8];
        start.copy_from_slice(&digest[..8]);
        Self(start)
    }
}

fn described(tag: &[u8], tensor: &TensorInfo, content: &[u8]) -> Vec<u8> {
    described_as(tag, tensor, None, content)
}

/// [`described`] for a tensor that has the shape of another, and maybe another dtype.
fn described_as(tag: &[u8], tensor: &TensorInfo, dtype: Option<&str>, content: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_vec();
    bytes.push(0);
    let name = dtype.unwrap_or(tensor.dtype_name()).as_bytes();
    if dtype.is_none() && tensor.dtype().is_none() {
        // An unknown dtype may have any bytes in its name, such as those of a shape.
        bytes.extend_from_slice(b"unknown");
        bytes.extend((name.len() as u64).to_le_bytes());
    }
    bytes.extend_from_slice(name);
    bytes.push(0);
    bytes.extend((tensor.shape().len() as u64).to_le_bytes());
    bytes.extend(tensor.shape().iter().flat_map(|dim| dim.to_le_bytes()));
    bytes.extend_from_slice(content);
    bytes
}

/// Stored bytes of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: TensorKey,
    pub(crate) samples: Samples,
    pub(crate) location: Location,
    pub(crate) model_len: u32,
    pub(crate) level: String,
    pub(crate) encoder: String,
    /// The base, if they are differences to one.
    pub(crate) ground: Option<Ground>,
}

impl Stored {
    /// Whether what is needed to read it satisfies a condition: its place, and that of its base.
    pub(crate) fn all(&self, is: impl Fn(&Location) -> bool) -> bool {
        is(&self.location) && self.ground.as_ref().is_none_or(|ground| is(&ground.location))
    }

    pub(crate) fn len(&self) -> StoredLen {
        StoredLen { stored_len: self.location.len, model_len: self.model_len }
    }

    /// Returns the order in which stored bytes of a tensor are preferred: shorter ones first. Those
    /// of length 0 come last, for they are of no tensor but an empty one.
    pub(crate) fn rank(&self) -> (bool, u64) {
        (self.location.len == 0, self.location.len)
    }
}

/// Returns the bytes of a run: a table of packs, entries sorted by key, and the SHA-256 of both.
/// All entries have bases, or none has.
fn run(mut entries: Vec<Stored>) -> Vec<u8> {
    // Of those in one place the last one stays.
    entries.reverse();
    entries.sort_by(|a, b| (a.key, &a.location).cmp(&(b.key, &b.location)));
    entries.dedup_by(|a, b| (a.key, &a.location) == (b.key, &b.location));
    let mut packs: HashMap<(&str, &str, &str), u32> = HashMap::new();
    let mut table = Vec::new();
    let mut rows = Vec::with_capacity(entries.len() * ENTRY_LEN);
    let mut row_of = |pack, level, encoder| {
        let next = packs.len() as u32;
        *packs.entry((pack, level, encoder)).or_insert_with(|| {
            table.extend(padded::<32>(pack));
            table.extend(padded::<8>(level));
            table.extend(padded::<8>(encoder));
            next
        })
    };
    for entry in &entries {
        let Location { pack, offset, len } = &entry.location;
        let at = row_of(pack, &entry.level, &entry.encoder);
        rows.extend(entry.key.0);
        rows.extend(entry.samples.0);
        rows.extend(at.to_le_bytes());
        rows.extend(entry.model_len.to_le_bytes());
        rows.extend(offset.to_le_bytes());
        rows.extend(len.to_le_bytes());
        if let Some(Ground { location: Location { pack, offset, len }, facts }) = &entry.ground {
            let Facts { model_len, sha256, content, file, rounded } = facts;
            rows.extend([sha256, content, file].iter().flat_map(|digest| digest.0));
            rows.extend(row_of(pack, "", "").to_le_bytes());
            rows.extend(model_len.to_le_bytes());
            rows.extend([*offset, *len, u64::from(*rounded)].iter().flat_map(|n| n.to_le_bytes()));
        }
    }
    let counts = [packs.len() as u64, entries.len() as u64];
    let with_bases = entries.iter().any(|entry| entry.ground.is_some());
    let mut bytes = if with_bases { MAGIC_WITH_BASES } else { MAGIC }.to_vec();
    bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
    bytes.extend(table);
    bytes.extend(rows);
    let digest = Digest::of(&bytes);
    bytes.extend(digest.0);
    bytes
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let len = text.len().min(N);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    bytes
}

/// Parses a run; `None` for a damaged one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Vec<Stored>> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Digest::of(content).0 != digest {
        return None;
    }
    let with_bases = content.starts_with(&MAGIC_WITH_BASES);
    let rest = content.strip_prefix(if with_bases { &MAGIC_WITH_BASES } else { &MAGIC })?;
    let entry_len = if with_bases { ENTRY_LEN + BASE_LEN } else { ENTRY_LEN };
    let (counts, rest) = rest.split_at_checked(16)?;
    let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    let packs = usize::try_from(number(&counts[..8])?).ok()?;
    let (table, rows) = rest.split_at_checked(packs.checked_mul(PACK_LEN)?)?;
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes[..end].to_vec()).ok()
    };
    let pack = |row: &[u8]| Some((text(&row[..32])?, text(&row[32..40])?, text(&row[40..])?));
    let table: Vec<_> = table.chunks_exact(PACK_LEN).map(pack).collect::<Option<_>>()?;
    if table.iter().any(|(pack, ..)| !keys::is_random(pack)) {
        return None;
    }
    let short = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
    let base = |row: &[u8]| {
        let digest = |at: usize| Some(Digest(row[32 * at..32 * at + 32].try_into().ok()?));
        let (pack, ..) = table.get(short(&row[96..100])? as usize)?.clone();
        let facts = Facts {
            model_len: short(&row[100..104])?,
            sha256: digest(0)?,
            content: digest(1)?,
            file: digest(2)?,
            rounded: number(&row[120..128])? != 0,
        };
        let (offset, len) = (number(&row[104..112])?, number(&row[112..120])?);
        Some(Ground { location: Location { pack, offset, len }, facts })
    };
    let entry = |row: &[u8]| {
        let (pack, level, encoder) = table.get(short(&row[40..44])? as usize)?.clone();
        let location = Location { pack, offset: number(&row[48..56])?, len: number(&row[56..64])? };
        Some(Stored {
            key: TensorKey(row[..32].try_into().ok()?),
            samples: Samples(row[32..40].try_into().ok()?),
            location,
            model_len: short(&row[44..48])?,
            level,
            encoder,
            ground: if with_bases { Some(base(&row[ENTRY_LEN..])?) } else { None },
        })
    };
    let entries: Vec<_> = rows.chunks_exact(entry_len).map(entry).collect::<Option<_>>()?;
    entries.is_sorted_by_key(|stored: &Stored| stored.key).then_some(entries)
}

/// A run: entries, sorted by key.
#[derive(Debug, Default)]
pub(crate) struct Run(Vec<Stored>);

impl Run {
    /// Returns what it says about a tensor.
    pub(crate) fn find(&self, key: TensorKey) -> &[Stored] {
        let start = self.0.partition_point(|stored| stored.key < key);
        let len = self.0[start..].partition_point(|stored| stored.key == key);
        &self.0[start..start + len]
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Stored> {
        self.0.iter()
    }
}

/// The runs that were read before, so that only new ones are.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<HashMap<String, Arc<Run>>>);

impl Runs {
    /// Returns all runs of a namespace. A damaged one counts as missing.
    pub(crate) fn load(&self, objects: &Objects, namespace: &str) -> Result<Vec<Arc<Run>>> {
        let listed = objects.list(&keys::index(namespace))?;
        let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
        let missing: Vec<_> = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            listed.iter().filter(|key| !known.contains_key(*key)).cloned().collect()
        };
        let read = objects.get_all(&missing)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = format!("{}/", keys::index(namespace));
        let there: HashSet<_> = listed.iter().collect();
        known.retain(|key, _| !key.starts_with(&folder) || there.contains(key));
        for (key, bytes) in missing.into_iter().zip(read) {
            let entries = bytes.as_deref().and_then(parse).unwrap_or_default();
            known.insert(key, Arc::new(Run(entries)));
        }
        Ok(listed.iter().filter_map(|key| known.get(key).cloned()).collect())
    }
}

/// Returns the runs of new entries, to be written: of those that have bases, and of the others.
pub(crate) fn new_runs(namespace: &str, entries: Vec<Stored>) -> Vec<(String, Vec<u8>)> {
    let (based, alone): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.ground.is_some());
    let mut last: Option<String> = None;
    let runs = [alone, based].into_iter().filter(|entries| !entries.is_empty());
    let runs = runs.map(|entries| {
        let name = keys::next(last.as_deref());
        let key = format!("{}/{name}", keys::index(namespace));
        last = Some(name);
        (key, run(entries))
    });
    runs.collect()
}

/// Writes the runs of new entries.
pub(crate) fn write(objects: &Objects, namespace: &str, entries: Vec<Stored>) -> Result<()> {
    new_runs(namespace, entries)
        .iter()
        .try_for_each(|(key, bytes)| Ok(objects.put(key, bytes.clone())?))
}

/// The tensors that a push may rely on.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tensors: HashMap<TensorKey, Stored>,
    samples: HashSet<Samples>,
}

impl Index {
    /// Adds stored bytes of a tensor, of which the shortest are kept.
    pub(crate) fn insert(&mut self, stored: Stored) {
        match self.tensors.get(&stored.key) {
            // What comes later knows better where its base is.
            Some(known) if known.location != stored.location && known.rank() <= stored.rank() => {}
            _ => self.replace(stored),
        }
    }

    /// Takes stored bytes of a tensor in place of those that it has.
    pub(crate) fn replace(&mut self, stored: Stored) {
        self.samples.insert(stored.samples);
        self.tensors.insert(stored.key, stored);
    }

    /// Has tensors with these samples be looked at, though none of them is there to be relied on.
    pub(crate) fn expect(&mut self, samples: Samples) {
        self.samples.insert(samples);
    }

    /// Forgets stored bytes that turned out to be damaged; returns them.
    pub(crate) fn remove_all(&mut self, is: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        self.tensors.extract_if(|_, stored| is(stored)).map(|(_, stored)| stored).collect()
    }

    /// Forgets the stored bytes of a tensor.
    pub(crate) fn remove(&mut self, key: TensorKey) -> Option<Stored> {
        self.tensors.remove(&key)
    }

    pub(crate) fn get(&self, key: TensorKey) -> Option<&Stored> {
        self.tensors.get(&key)
    }

    pub(crate) fn may_have(&self, samples: Samples) -> bool {
        self.samples.contains(&samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(n: u8, pack: &str) -> Stored {
        Stored {
            key: TensorKey([n; 32]),
            samples: Samples([n; 8]),
            location: Location { pack: pack.into(), offset: n.into(), len: 7 },
            model_len: 3,
            level: "default".into(),
            encoder: "0.1.0".into(),
            ground: None,
        }
    }

    #[test]
    fn runs_round_trip_sorted_and_damage_is_noticed() {
        let id = "0123456789abcdef0123456789abcdef";
        let other = "b".repeat(32);
        let bytes = run(vec![stored(9, id), stored(1, &other), stored(9, id)]);
        assert_eq!(parse(&bytes).unwrap(), [stored(1, &other), stored(9, id)]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(parse(&flipped), None);
            assert_eq!(parse(&bytes[..at]), None);
        }
        let based = |n: u8| {
            let [sha256, content, file] = [4, 5, 6].map(|n| Digest([n; 32]));
            let facts = Facts { model_len: 9, sha256, content, file, rounded: n == 1 };
            let location = Location { pack: other.clone(), offset: 3, len: u64::from(n) };
            Stored { ground: Some(Ground { location, facts }), ..stored(n, id) }
        };
        assert_eq!(parse(&run(vec![based(2), based(1)])).unwrap(), [based(1), based(2)]);
        // No key is made of what is no name of a pack.
        assert_eq!(parse(&run(vec![stored(1, "../../store.json")])), None);
    }

    #[test]
    fn many_tensors_are_read_in_few_bytes_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_directory(folder.path()).unwrap();
        for run in 0..10_u64 {
            let entry = |n: u64| {
                let mut stored = stored(0, &format!("{:032x}", n % 50));
                stored.key.0[..8].copy_from_slice(&(run * 10_000 + n).to_be_bytes());
                stored.location.offset = n;
                stored
            };
            write(&objects, "lab", (0..10_000).map(entry).collect()).unwrap();
        }
        let runs = Runs::default();
        let count = |runs: Vec<Arc<Run>>| runs.iter().map(|run| run.iter().len()).sum::<usize>();
        assert_eq!(count(runs.load(&objects, "lab").unwrap()), 100_000);
        let cold = objects.received();
        assert!(cold < 10_000_000, "{cold}");
        write(&objects, "lab", vec![stored(1, &"b".repeat(32))]).unwrap();
        assert_eq!(count(runs.load(&objects, "lab").unwrap()), 100_001);
        // Nothing but the new run.
        assert!(objects.received() - cold < 1000);
    }
}
