//! The recipe for scaling a chunk: measure its rows, make offsets of their steps, apply these.

use super::offsets::Scale;
use crate::planes::Planes;
use at1w_simd::Backend;
use at1w_simd::planes::Layout;

/// Elements that are scaled at a time: they stay in the cache that is nearest.
const STRIP: usize = 1 << 12;

/// Elements after scaling, and the steps of their rows. It is memory that is kept from one chunk
/// to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scaled {
    /// The scaled elements, or the last strip of them.
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
        self.rows.clear();
        for (before, strip) in strips(scale, width, position, raw) {
            self.push(backend, scale, width, position + before, strip);
        }
    }

    /// Scales `raw`, the elements from `position` on, to planes of `layout`.
    pub(crate) fn split(
        &mut self,
        backend: Backend,
        scale: &Scale,
        layout: Layout,
        position: u64,
        raw: &[u8],
        planes: &mut Planes,
    ) {
        planes.reset(layout, raw.len());
        self.rows.clear();
        for (before, strip) in strips(scale, layout.width(), position, raw) {
            self.words.clear();
            self.push(backend, scale, layout.width(), position + before, strip);
            planes.split_part(backend, layout, before as usize, &self.words);
        }
    }

    /// Scales whole rows, or parts of the first and the last one, behind the others.
    fn push(&mut self, backend: Backend, scale: &Scale, width: usize, position: u64, raw: &[u8]) {
        let (words, rows) = (self.words.len(), self.rows.len());
        self.words.extend_from_slice(raw);
        scale.measure_rows(backend, width, position, raw, &mut self.rows);
        scale.row_offsets(&self.rows[rows..], &mut self.row_offsets);
        scale.apply(backend, width, position, &self.row_offsets, &mut self.words[words..]);
    }
}

/// Cuts `raw`, the elements from `position` on, into strips, each after the number of the elements
/// before it. They end with rows if rows have offsets.
fn strips<'a>(
    scale: &Scale,
    width: usize,
    position: u64,
    raw: &'a [u8],
) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
    // A row has at most `MAX_ROW_LEN` elements.
    let row_len = if scale.rows { scale.row_len as usize } else { 1 };
    let strip = STRIP.next_multiple_of(row_len);
    let first = strip - (position % row_len as u64) as usize;
    let (first, rest) = raw.split_at(raw.len().min(width * first));
    let all = std::iter::once(first).chain(rest.chunks(width * strip));
    all.scan(0, move |before, strip| {
        let at = *before;
        *before += (strip.len() / width) as u64;
        Some((at, strip))
    })
}
