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
static ALL: Bytes = Bytes { most: MOST_BYTES, kept: AtomicUsize::new(0) };

/// The bytes that several files share.
#[derive(Debug)]
struct Bytes {
    /// The number of them that is kept at most.
    most: usize,
    kept: AtomicUsize,
}

/// A chunk: the index of its tensor in data order, and its own in the tensor.
pub(crate) type Key = (usize, u64);

/// The chunks that an open file keeps. Whoever looks for a chunk and whoever keeps one may be on
/// any thread.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The number of bytes that are kept at most.
    most: usize,
    /// The bytes that it shares with other files.
    shared: &'static Bytes,
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
        Self::within(&ALL, most)
    }

    fn within(shared: &'static Bytes, most: usize) -> Self {
        Self { most, shared, chunks: Mutex::default() }
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
            self.shared.give(chunks.drop_oldest());
        }
        while !self.shared.take(raw.len()) {
            if chunks.by_key.is_empty() {
                // Other files have all of it.
                return;
            }
            self.shared.give(chunks.drop_oldest());
        }
        chunks.clock += 1;
        chunks.bytes += raw.len();
        let used = chunks.clock;
        chunks.by_key.insert(key, Chunk { raw: raw.into(), used });
    }
}

impl Bytes {
    /// Takes a number of bytes, unless there would be too many.
    fn take(&self, len: usize) -> bool {
        let fits = self.kept.fetch_add(len, Ordering::Relaxed) + len <= self.most;
        if !fits {
            self.give(len);
        }
        fits
    }

    fn give(&self, len: usize) {
        self.kept.fetch_sub(len, Ordering::Relaxed);
    }
}

impl Chunks {
    /// Drops the chunk that was not asked for longest, and returns its number of bytes.
    fn drop_oldest(&mut self) -> usize {
        let oldest = self.by_key.iter().min_by_key(|(_, chunk)| chunk.used).map(|(&key, _)| key);
        let dropped = oldest.and_then(|key| self.by_key.remove(&key));
        let len = dropped.map_or(0, |chunk| chunk.raw.len());
        self.bytes -= len;
        len
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let chunks = self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.shared.give(chunks.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns shared bytes that no other test takes.
    fn shared(most: usize) -> &'static Bytes {
        Box::leak(Box::new(Bytes { most, kept: AtomicUsize::new(0) }))
    }

    #[test]
    fn the_chunks_that_were_asked_for_lately_stay() {
        let shared = shared(1000);
        let kept = Kept::within(shared, 100);
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
        assert_eq!(shared.kept.load(Ordering::Relaxed), 90);
        let none = Kept::within(shared, 0);
        none.put((0, 0), &[1]);
        assert!(none.get((0, 0)).is_none());
    }

    #[test]
    fn many_files_keep_no_more_than_a_process_may() {
        let shared = shared(1600);
        let files: Vec<_> = (0..40).map(|_| Kept::within(shared, 200)).collect();
        for file in &files {
            for chunk in 0..2 {
                file.put((0, chunk), &[0; 100]);
                assert!(shared.kept.load(Ordering::Relaxed) <= 1600);
            }
        }
        let bytes = |file: &Kept| file.chunks.lock().unwrap().bytes;
        assert_eq!(files.iter().map(bytes).sum::<usize>(), 1600);
        drop(files);
        assert_eq!(shared.kept.load(Ordering::Relaxed), 0);
    }
}
