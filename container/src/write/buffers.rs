//! Memory that goes round between the encoder and the output.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::chunk::{EncodedChunk, Payload};
use crate::format::chunking::MAX_CHUNK_LEN;

/// The memory of large chunks that were written, for later ones: new memory costs as much time as
/// encoding.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn list(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns memory for about `len` bytes, of any content.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        if Self::is_large(len) { self.list().pop().unwrap_or_default() } else { Vec::new() }
    }

    /// Keeps the memory of a chunk that was written.
    pub(super) fn give_back(&self, chunk: EncodedChunk<'_>) {
        if Self::is_large(chunk.raw.len()) {
            let mut list = self.list();
            if let Payload::Own { bytes, .. } = chunk.payload {
                list.push(bytes);
            }
            if let Cow::Owned(raw) = chunk.raw {
                list.push(raw);
            }
        }
    }

    /// Whether memory for a chunk of `len` bytes is kept. A batch has few such chunks.
    fn is_large(len: usize) -> bool {
        len as u64 >= MAX_CHUNK_LEN / 2
    }
}
