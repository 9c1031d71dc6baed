//! The chunks of an open file of which parts were read lately, verified: reading another part of
//! one costs a copy, where it would cost decoding and hashing all of the chunk again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of chunks that a file keeps at most, whatever their lengths are.
const MOST_CHUNKS: usize = 64;

/// The number of bytes that all open files of a process keep at most.
const MOST_BYTES: usize = 256 << 20;

/// The bytes that all open files keep.
static ALL: AtomicUsize = AtomicUsize::new(0);

/// A chunk: the index of its tensor in data order, and its own in the tensor.
pub(crate) type Key = (usize, u64);

/// The chunks that an open file keeps. Whoever looks for a chunk and whoever keeps one may be on
/// any thread.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The number of bytes that are kept at most.
    most: usize,
    chunks: Mutex<Chunks>,
}

#[derive(Debug, Default)]
struct Chunks {
    by_key: HashMap<Key, Chunk>,
    bytes: usize,
    /// The number of times that a chunk was asked for.
    clock: u64,
}

#[derive(Debug)]
struct Chunk {
    raw: Arc<[u8]>,
    /// The time when it was asked for last.
    used: u64,
}

impl Kept {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, chunks: Mutex::default() }
    }

    /// Returns a chunk, if it is kept.
    pub(crate) fn get(&self, key: Key) -> Option<Arc<[u8]>> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.clock += 1;
        let used = chunks.clock;
        let chunk = chunks.by_key.get_mut(&key)?;
        chunk.used = used;
        Some(chunk.raw.clone())
    }

    /// Whether chunks of so many bytes in all are worth keeping: they leave room for others.
    pub(crate) fn takes(&self, len: u64) -> bool {
        len <= self.most as u64 / 2
    }

    /// Keeps a verified chunk, in the place of those that were not asked for longest.
    pub(crate) fn put(&self, key: Key, raw: &[u8]) {
        if !self.takes(raw.len() as u64) {
            return;
        }
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if chunks.by_key.contains_key(&key) {
            return;
        }
        while chunks.bytes + raw.len() > self.most || chunks.by_key.len() >= MOST_CHUNKS {
            chunks.drop_oldest();
        }
        while ALL.fetch_add(raw.len(), Ordering::Relaxed) + raw.len() > MOST_BYTES {
            ALL.fetch_sub(raw.len(), Ordering::Relaxed);
            if chunks.by_key.is_empty() {
                // Other files have all of it.
                return;
            }
            chunks.drop_oldest();
        }
        chunks.clock += 1;
        chunks.bytes += raw.len();
        let used = chunks.clock;
        chunks.by_key.insert(key, Chunk { raw: raw.into(), used });
    }
}

impl Chunks {
    fn drop_oldest(&mut self) {
        let oldest = self.by_key.iter().min_by_key(|(_, chunk)| chunk.used).map(|(&key, _)| key);
        if let Some(chunk) = oldest.and_then(|key| self.by_key.remove(&key)) {
            self.bytes -= chunk.raw.len();
            ALL.fetch_sub(chunk.raw.len(), Ordering::Relaxed);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let chunks = self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
        ALL.fetch_sub(chunks.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunks_that_were_asked_for_lately_stay() {
        let kept = Kept::new(100);
        for chunk in 0..4 {
            kept.put((0, chunk), &[chunk as u8; 30]);
            assert_eq!(kept.get((0, 0)).unwrap()[..], [0; 30]);
        }
        assert!(kept.get((0, 1)).is_none() && kept.get((1, 3)).is_none());
        assert_eq!(kept.get((0, 3)).unwrap()[..], [3; 30]);
        // Large ones would leave no room.
        kept.put((0, 9), &[9; 51]);
        assert!(kept.get((0, 9)).is_none() && kept.get((0, 3)).is_some());
        assert_eq!(kept.chunks.lock().unwrap().bytes, 90);
        let none = Kept::new(0);
        none.put((0, 0), &[1]);
        assert!(none.get((0, 0)).is_none());
    }

    #[test]
    fn many_files_keep_no_more_than_a_process_may() {
        let files: Vec<_> = (0..40).map(|_| Kept::new(32 << 20)).collect();
        for file in &files {
            for chunk in 0..2 {
                file.put((0, chunk), &vec![0; 16 << 20]);
                assert!(ALL.load(Ordering::Relaxed) <= MOST_BYTES);
            }
        }
        let bytes = |file: &Kept| file.chunks.lock().unwrap().bytes;
        assert!(files.iter().map(bytes).sum::<usize>() > MOST_BYTES / 2);
        drop(files);
        // Tests beside this one keep a little.
        assert!(ALL.load(Ordering::Relaxed) < 1 << 20);
    }
}
