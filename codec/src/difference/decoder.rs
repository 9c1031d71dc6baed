//! From the streams of differences, and the words of the base, to words.

use at1w_simd::Backend;
use at1w_simd::differences::{self, MAX_CLASSES, PADDING};
use at1w_simd::planes::{self, Layout};

use super::model::Differences;
use super::word::is_float;
use crate::DecodeError;
use crate::cursor::Cursor;
use crate::limits::MAX_PLANES;
use crate::plane::{Entry, OwnTables};

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct DifferenceDecoder {
    own: OwnTables,
    planes: Vec<u8>,
    /// The differences of all classes, one class after the other, and padding.
    words: Vec<u8>,
}

impl DifferenceDecoder {
    /// Decodes a chunk after its method. `base` is as long as `raw`.
    pub(crate) fn decode(
        &mut self,
        backend: Backend,
        layout: Layout,
        model: &Differences,
        mut input: Cursor<'_>,
        base: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let Self { own, planes, words } = self;
        let width = layout.width();
        let counts = differences::count(backend, width, &model.classes, base);
        let mut entries = [[None; MAX_PLANES]; MAX_CLASSES];
        for (entries, &n) in entries.iter_mut().zip(&counts).filter(|(_, n)| **n > 0) {
            for (plane, entry) in entries[..width].iter_mut().enumerate() {
                *entry = Some(Entry::read(plane, n, &mut input)?);
            }
        }
        planes.resize(planes.len().max(raw.len()), 0);
        words.resize(words.len().max(raw.len() + PADDING), 0);
        let mut rest = &mut words[..raw.len()];
        for (class, (entries, &n)) in entries.iter().zip(&counts).enumerate() {
            if n == 0 {
                continue;
            }
            let mut slices: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
            let memory = planes.chunks_exact_mut(n).zip(entries.iter().flatten());
            for (plane, (memory, entry)) in memory.enumerate() {
                let table = model.table(class, plane);
                entry.open(plane, n, table, own, &mut input)?.decode(backend, memory)?;
                slices[plane] = memory;
            }
            let (words, after) = rest.split_at_mut(n * width);
            planes::merge(backend, layout.unrotated(), &slices[..width], words);
            rest = after;
        }
        input.end()?;
        let float = is_float(layout);
        differences::add(backend, width, float, &model.classes, words, base, raw);
        Ok(())
    }
}
