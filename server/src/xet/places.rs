//! Where the chunks of a xorb came to lie after its files were packed. Clients name xorbs for weeks
//! that they do not send again.

use at1w_container::Digest;
use serde::{Deserialize, Serialize};

use super::hash::Hash;
use crate::error::Answer;
use crate::hub::Hub;
use crate::random::random;

/// The places of some chunks of a xorb, as they are stored.
#[derive(Debug, Serialize, Deserialize)]
struct Map {
    /// The raw lengths of all chunks of the xorb.
    lens: Vec<u32>,
    files: Vec<String>,
    runs: Vec<Run>,
}

/// A range of chunks that lie in a file one after another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    first: u32,
    end: u32,
    file: u32,
    offset: u64,
}

/// The places of the chunks of a xorb.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Places {
    /// The raw lengths of all chunks.
    lens: Vec<u32>,
    /// For each chunk the file that it lies in, and its offset there; `None` if it is not known.
    at: Vec<Option<(Digest, u64)>>,
}

/// A range of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) file: Digest,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Places {
    pub(crate) fn new(lens: Vec<u32>) -> Self {
        let at = vec![None; lens.len()];
        Self { lens, at }
    }

    /// Adds a range of chunks that begins at an offset of a file. It goes before what was known.
    pub(crate) fn add(&mut self, first: u32, end: u32, file: Digest, mut offset: u64) {
        for chunk in first as usize..(end as usize).min(self.lens.len()) {
            self.at[chunk] = Some((file, offset));
            offset = offset.saturating_add(self.lens[chunk].into());
        }
    }

    /// Adds what another map knows, before what was known.
    fn extend(&mut self, other: &Self) {
        for (known, other) in self.at.iter_mut().zip(&other.at) {
            *known = other.or(*known);
        }
    }

    /// Returns where a range of chunks lies; `None` if that of some is not known.
    pub(crate) fn find(&self, first: u32, end: u32) -> Option<Vec<Piece>> {
        let range = first as usize..end as usize;
        let (at, lens) = (self.at.get(range.clone())?, self.lens.get(range)?);
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, &len) in at.iter().zip(lens) {
            let (file, offset) = (*at)?;
            match pieces.last_mut() {
                Some(last) if last.file == file && last.offset + last.len == offset => {
                    last.len += u64::from(len);
                }
                _ => pieces.push(Piece { file, offset, len: len.into() }),
            }
        }
        Some(pieces)
    }

    /// Whether the places of all chunks are known.
    fn is_whole(&self) -> bool {
        self.at.iter().all(Option::is_some)
    }

    /// Parses a map; `None` for one that makes no sense.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let map: Map = serde_json::from_slice(bytes).ok()?;
        let mut places = Self::new(map.lens);
        // What was written first goes first.
        for run in map.runs.iter().rev() {
            let file = map.files.get(run.file as usize)?.parse().ok()?;
            places.add(run.first, run.end, file, run.offset);
        }
        Some(places)
    }

    fn to_json(&self) -> Vec<u8> {
        let mut map = Map { lens: self.lens.clone(), files: Vec::new(), runs: Vec::new() };
        let mut last: Option<(Digest, u64)> = None;
        for (chunk, at) in (0_u32..).zip(&self.at) {
            if let (Some((file, offset)), Some(run)) = (at, map.runs.last_mut())
                && run.end == chunk
                && last == Some((*file, *offset))
            {
                run.end += 1;
            } else if let Some((file, offset)) = at {
                let name = file.to_string();
                let known = map.files.iter().position(|known| *known == name);
                let file = known.unwrap_or_else(|| {
                    map.files.push(name);
                    map.files.len() - 1
                });
                let run = Run { first: chunk, end: chunk + 1, file: file as u32, offset: *offset };
                map.runs.push(run);
            }
            let len = u64::from(self.lens[chunk as usize]);
            last = at.map(|(file, offset)| (file, offset.saturating_add(len)));
        }
        serde_json::to_vec(&map).expect("a map is plain data")
    }
}

fn folder(namespace: &str, xorb: Hash) -> String {
    format!("xet/{namespace}/maps/{}", xorb.text())
}

/// Tells whether a file is stored.
pub(crate) type Lives<'a> = dyn FnMut(Digest) -> Answer<bool> + 'a;

/// Reads what is known about the chunks of a xorb that lie in files that live; `None` where nothing
/// is. Returns the keys of all maps of it as well.
pub(crate) fn read(
    hub: &Hub,
    namespace: &str,
    xorb: Hash,
    lives: &mut Lives<'_>,
) -> Answer<(Option<Places>, Vec<String>)> {
    let objects = hub.store.objects();
    let listed = objects.list(&folder(namespace, xorb))?;
    let keys: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
    let mut all: Option<Places> = None;
    for bytes in objects.get_all(&keys)?.iter().flatten() {
        let Some(mut places) = Places::parse(bytes) else { continue };
        let mut last: Option<(Digest, bool)> = None;
        for at in &mut places.at {
            let Some((file, _)) = *at else { continue };
            let lives = match last {
                Some((known, lives)) if known == file => lives,
                _ => lives(file)?,
            };
            last = Some((file, lives));
            if !lives {
                *at = None;
            }
        }
        match &mut all {
            None => all = Some(places),
            Some(all) => all.extend(&places),
        }
    }
    let known = all.filter(|all| all.at.iter().any(Option::is_some));
    Ok((known, keys))
}

/// Writes what became known about the chunks of a xorb, and what was known before, as one map.
/// Returns whether the places of all chunks are known.
pub(crate) fn write(
    hub: &Hub,
    namespace: &str,
    xorb: Hash,
    places: &Places,
    lives: &mut Lives<'_>,
) -> Answer<bool> {
    let (known, keys) = read(hub, namespace, xorb, lives)?;
    let mut all = known.clone().unwrap_or_else(|| Places::new(places.lens.clone()));
    all.extend(places);
    if known.as_ref() != Some(&all) || keys.len() > 1 {
        let key = format!("{}/{}", folder(namespace, xorb), random());
        hub.store.objects().put(&key, all.to_json())?;
        hub.store.objects().delete(&keys)?;
    }
    Ok(all.is_whole())
}

/// Forgets where the chunks of a xorb lie: they have to be sent again.
pub(crate) fn forget(hub: &Hub, namespace: &str, xorb: Hash) -> Answer<()> {
    let objects = hub.store.objects();
    let listed = objects.list(&folder(namespace, xorb))?;
    let keys: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
    Ok(objects.delete(&keys)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_chunks_are_found_across_runs() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut places = Places::new(vec![10, 20, 30, 40]);
        places.add(0, 2, a, 100);
        assert_eq!(places.find(1, 3), None);
        assert!(!places.is_whole());
        places.add(2, 4, b, 7);
        let piece = |file, offset, len| Piece { file, offset, len };
        assert_eq!(places.find(1, 2).unwrap(), [piece(a, 110, 20)]);
        assert_eq!(places.find(1, 4).unwrap(), [piece(a, 110, 20), piece(b, 7, 70)]);
        assert!(places.is_whole());
        assert_eq!(places.find(3, 5), None);
    }

    #[test]
    fn maps_round_trip_in_few_runs_and_later_ones_go_first() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut places = Places::new(vec![10; 1000]);
        places.add(0, 600, a, 5);
        places.add(700, 1000, b, 0);
        let json = places.to_json();
        assert_eq!(Places::parse(&json).unwrap(), places);
        let map: Map = serde_json::from_slice(&json).unwrap();
        assert_eq!((map.runs.len(), map.files.len()), (2, 2));
        let mut later = Places::new(vec![10; 1000]);
        later.add(0, 1, b, 77);
        places.extend(&later);
        assert_eq!(places.find(0, 1).unwrap()[0].file, b);
        assert_eq!(places.find(1, 2).unwrap()[0].file, a);
        assert_eq!(Places::parse(b"{}"), None);
    }
}
