//! The recipe for scaling a chunk: measure its rows, make offsets of their steps, apply these.

use super::offsets::Scale;
use at1w_simd::Backend;

/// Elements after scaling, and the steps of their rows. It is memory that is kept from one chunk
/// to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scaled {
    /// The scaled elements.
    pub(crate) words: Vec<u8>,
    /// The steps of rows; empty if rows have none.
    pub(crate) rows: Vec<u8>,
    row_offsets: Vec<u16>,
}

impl Scaled {
    /// Scales `raw`, the elements from `position` on.
    pub(crate) fn scale(
        &mut self,
        backend: Backend,
        scale: &Scale,
        width: usize,
        position: u64,
        raw: &[u8],
    ) {
        self.words.clear();
        self.words.extend_from_slice(raw);
        scale.measure_rows(backend, width, position, raw, &mut self.rows);
        scale.row_offsets(&self.rows, &mut self.row_offsets);
        scale.apply(backend, width, position, &self.row_offsets, &mut self.words);
    }
}
