//! From the streams of differences, and the words of the base, to words.

use at1w_simd::Backend;
use at1w_simd::planes::{self, Layout};

use super::classes::{Classes, MAX_CLASSES};
use super::model::Differences;
use super::word::{Word, is_float, with_word};
use crate::DecodeError;
use crate::cursor::Cursor;
use crate::limits::MAX_PLANES;
use crate::plane::{Entry, OwnTables};

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct DifferenceDecoder {
    own: OwnTables,
    /// The class of each word.
    classes: Vec<u8>,
    planes: Vec<u8>,
    /// The differences of all classes, one class after the other.
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
        let Self { own, classes, planes, words } = self;
        let width = layout.width();
        let mut counts = [0; MAX_CLASSES];
        if model.classes.count() == 1 {
            counts[0] = raw.len() / width;
        } else {
            classes.resize(classes.len().max(raw.len() / width), 0);
            let classes = &mut classes[..raw.len() / width];
            with_word!(layout, classify(&model.classes, base, classes, &mut counts));
        }
        let mut entries = [[None; MAX_PLANES]; MAX_CLASSES];
        for (entries, &n) in entries.iter_mut().zip(&counts).filter(|(_, n)| **n > 0) {
            for (plane, entry) in entries[..width].iter_mut().enumerate() {
                *entry = Some(Entry::read(plane, n, &mut input)?);
            }
        }
        planes.resize(planes.len().max(raw.len()), 0);
        words.resize(words.len().max(raw.len()), 0);
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
        let words = &words[..raw.len()];
        with_word!(layout, add(layout, &model.classes, classes, &counts, words, base, raw));
        Ok(())
    }
}

/// Finds the class of each word, and counts them.
fn classify<W: Word>(
    of: &Classes,
    base: &[u8],
    classes: &mut [u8],
    counts: &mut [usize; MAX_CLASSES],
) {
    for (classes, base) in classes.chunks_mut(255).zip(W::chunks(base).chunks(255)) {
        // As few bytes as possible, so that many words are counted at a time.
        let mut some = [0_u8; MAX_CLASSES];
        for (class, base) in classes.iter_mut().zip(base) {
            *class = of.of(W::read(base).exponent());
            for (i, count) in some.iter_mut().enumerate() {
                *count += u8::from(*class == i as u8);
            }
        }
        counts.iter_mut().zip(some).for_each(|(sum, count)| *sum += usize::from(count));
    }
}

/// Adds the differences to the words of the base.
fn add<W: Word>(
    layout: Layout,
    of: &Classes,
    classes: &[u8],
    counts: &[usize; MAX_CLASSES],
    words: &[u8],
    base: &[u8],
    raw: &mut [u8],
) {
    let float = is_float(layout);
    let (raw, base, words) = (W::chunks_mut(raw), W::chunks(base), W::chunks(words));
    if of.count() == 1 {
        let keep = !of.is_alone(0);
        for ((raw, base), word) in raw.iter_mut().zip(base).zip(words) {
            W::read(word).plus(W::read(base).only_if(keep), float).write(raw);
        }
        return;
    }
    // The place of the next difference of each class.
    let mut places = [0; MAX_CLASSES];
    for class in 1..MAX_CLASSES {
        places[class] = places[class - 1] + counts[class - 1];
    }
    for ((raw, base), &class) in raw.iter_mut().zip(base).zip(classes) {
        let place = &mut places[usize::from(class) % MAX_CLASSES];
        let base = W::read(base).only_if(!of.is_alone(class));
        W::read(&words[*place]).plus(base, float).write(raw);
        *place += 1;
    }
}
