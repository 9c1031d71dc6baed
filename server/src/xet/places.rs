//! Where the chunks of a xorb came to lie after its files were packed. Clients name xorbs for weeks
//! that they do not send again.

use at1w_container::Digest;
use serde::{Deserialize, Serialize};

use super::hash::Hash;
use crate::error::Answer;
use crate::hub::{Hub, random};

/// The places of some chunks of a xorb.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Places {
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

/// A range of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) file: Digest,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Places {
    pub(crate) fn new(lens: Vec<u32>) -> Self {
        Self { lens, files: Vec::new(), runs: Vec::new() }
    }

    /// Adds a range of chunks that begins at an offset of a file.
    pub(crate) fn add(&mut self, first: u32, end: u32, file: Digest, offset: u64) {
        let name = file.to_string();
        let file = self.files.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.files.push(name);
            self.files.len() - 1
        });
        self.runs.push(Run { first, end, file: file as u32, offset });
    }

    /// Returns where a range of chunks lies; `None` if that of some is not known.
    pub(crate) fn find(&self, first: u32, end: u32) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut at = first;
        while at < end {
            let run = self.runs.iter().find(|run| run.first <= at && at < run.end)?;
            let len = |from: u32, to: u32| {
                let lens = self.lens.get(from as usize..to as usize)?;
                Some(lens.iter().map(|&len| u64::from(len)).sum::<u64>())
            };
            let to = run.end.min(end);
            pieces.push(Piece {
                file: self.files.get(run.file as usize)?.parse().ok()?,
                offset: run.offset.checked_add(len(run.first, at)?)?,
                len: len(at, to)?,
            });
            at = to;
        }
        Some(pieces)
    }

    /// Whether the places of all chunks are known.
    pub(crate) fn is_whole(&self) -> bool {
        self.find(0, self.lens.len() as u32).is_some()
    }
}

fn folder(namespace: &str, xorb: Hash) -> String {
    format!("xet/{namespace}/maps/{}", xorb.text())
}

/// Reads what is known about the chunks of a xorb; `None` where nothing is.
pub(crate) fn read(hub: &Hub, namespace: &str, xorb: Hash) -> Answer<Option<Places>> {
    let objects = hub.store.objects();
    let listed = objects.list(&folder(namespace, xorb))?;
    let keys: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
    let mut all: Option<Places> = None;
    for bytes in objects.get_all(&keys)?.iter().flatten() {
        let Ok(places) = serde_json::from_slice::<Places>(bytes) else { continue };
        match &mut all {
            None => all = Some(places),
            Some(all) => {
                for run in &places.runs {
                    let file = places.files.get(run.file as usize);
                    if let Some(Ok(file)) = file.map(|file| file.parse()) {
                        all.add(run.first, run.end, file, run.offset);
                    }
                }
            }
        }
    }
    Ok(all)
}

/// Writes what became known about the chunks of a xorb.
pub(crate) fn write(hub: &Hub, namespace: &str, xorb: Hash, places: &Places) -> Answer<()> {
    let json = serde_json::to_vec(places).expect("places are plain data");
    let key = format!("{}/{}", folder(namespace, xorb), random());
    Ok(hub.store.objects().put(&key, json)?)
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
}
