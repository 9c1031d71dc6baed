//! From words and those of their base to the streams of their differences.

use at1w_simd::Backend;
use at1w_simd::differences::{MAX_CLASSES, Word};
use at1w_simd::planes::Layout;

use super::model::Differences;
use super::word::{is_float, with_word};
use crate::plane::{Choice, Stream, Suits};
use crate::planes::Planes;

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct DifferenceEncoder {
    /// The differences of each class.
    words: [Vec<u8>; MAX_CLASSES],
    planes: Planes,
    streams: Vec<u8>,
    scratch: Vec<u8>,
}

impl DifferenceEncoder {
    /// Appends a chunk after its method: for each class that the chunk has words of, the entries of
    /// its planes; then all streams.
    pub(crate) fn encode(
        &mut self,
        backend: Backend,
        layout: Layout,
        model: &Differences,
        base: &[u8],
        raw: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Self { words, planes, streams, scratch } = self;
        with_word!(layout, subtract(layout, model, base, raw, words));
        streams.clear();
        for (class, words) in words[..model.classes.count()].iter().enumerate() {
            if words.is_empty() {
                continue;
            }
            planes.split(backend, layout.unrotated(), words);
            for (i, plane) in planes.iter().enumerate() {
                let choice = Choice::best(backend, Suits::Maybe, model.table(class, i), plane);
                match choice.encode(backend, plane, out, streams, scratch) {
                    Stream::Raw(plane) => streams.extend_from_slice(plane),
                    Stream::Coded(_) => {}
                }
            }
        }
        out.extend_from_slice(streams);
    }
}

/// Sorts the differences of all words by class.
fn subtract<W: Word>(
    layout: Layout,
    model: &Differences,
    base: &[u8],
    raw: &[u8],
    words: &mut [Vec<u8>; MAX_CLASSES],
) {
    let (classes, float) = (model.classes, is_float(layout));
    let width = layout.width();
    let mut ends = [0; MAX_CLASSES];
    for words in &mut *words {
        // Room for all: the loop below must not allocate.
        words.resize(raw.len(), 0);
    }
    for (raw, base) in W::chunks(raw).iter().zip(W::chunks(base)) {
        let base = W::read(base);
        let class = classes.of(base.exponent());
        let end = &mut ends[usize::from(class)];
        let place = W::chunks_mut(&mut words[usize::from(class)][*end..][..width]);
        let base = base.only_if(!classes.is_alone(class));
        W::read(raw).less(base, float).write(&mut place[0]);
        *end += width;
    }
    words.iter_mut().zip(ends).for_each(|(words, end)| words.truncate(end));
}
