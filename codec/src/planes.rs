//! Reusable memory for the planes of one chunk.

use at1w_simd::Backend;
use at1w_simd::planes::{self, Layout};

/// The planes of a chunk, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planes {
    bytes: Vec<u8>,
    elements: usize,
    /// The bytes that count; there may be more.
    len: usize,
}

impl Planes {
    /// Takes the planes of `raw`, a whole number of elements.
    pub(crate) fn split(&mut self, backend: Backend, layout: Layout, raw: &[u8]) {
        self.reset(layout, raw.len());
        planes::split(backend, layout, raw, &mut self.bytes[..raw.len()]);
    }

    /// Takes a part of the planes that there is room for: of `words`, the elements from `at` on.
    pub(crate) fn split_part(&mut self, backend: Backend, layout: Layout, at: usize, words: &[u8]) {
        planes::split_part(backend, layout, words, at, &mut self.bytes[..self.len]);
    }

    /// Makes room for the planes of `raw_len` bytes; their content is unspecified.
    pub(crate) fn reset(&mut self, layout: Layout, raw_len: usize) {
        self.bytes.resize(self.bytes.len().max(raw_len), 0);
        self.elements = raw_len / layout.width();
        self.len = raw_len;
    }

    /// Returns the planes, least significant first. There are none if there are no elements.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes[..self.len].chunks_exact(self.elements.max(1))
    }
}
