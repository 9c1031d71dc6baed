//! Encoding a chunk by its planes, the highest one by contexts if the model has them.

use super::method;
use crate::byte_contexts;
use crate::contexts::EncoderMemory;
use crate::limits::{MAX_PLANES, max_chunk_len};
use crate::model::Model;
use crate::plane::{Choice, Stream, Suits};
use crate::planes::Planes;
use crate::scale::Scaled;
use crate::varint;
use at1w_simd::Backend;

/// Bytes that are copied at a time. Long copies go through an instruction that takes twice as long
/// on some machines, unless both sides are aligned alike.
const COPIED: usize = 2048;

/// Working memory, kept from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct PlanesEncoder {
    scaled: Scaled,
    contexts: EncoderMemory,
    bytes: byte_contexts::EncoderMemory,
    planes: Planes,
    directory: Vec<u8>,
    streams: Vec<u8>,
    scratch: Vec<u8>,
}

/// The streams of a chunk, in their order: of row steps, of symbols, of planes.
struct StreamList<'p> {
    streams: [Option<Stream<'p>>; 2 + MAX_PLANES],
    count: usize,
}

impl<'p> StreamList<'p> {
    fn new() -> Self {
        Self { streams: [const { None }; 2 + MAX_PLANES], count: 0 }
    }

    fn push(&mut self, stream: Stream<'p>) {
        self.streams[self.count] = Some(stream);
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = &Stream<'p>> {
        self.streams.iter().flatten()
    }
}

impl PlanesEncoder {
    /// Encodes a chunk, the elements from `position` on, into room that is large enough. `suits`
    /// says how well the tables of the model do. Returns how many bytes that took.
    pub(super) fn encode(
        &mut self,
        backend: Backend,
        model: &Model,
        suits: Suits,
        position: u64,
        raw: &[u8],
        out: &mut [u8],
    ) -> usize {
        if raw.is_empty() {
            return 0;
        }
        let layout = model.layout();
        let width = layout.width();
        let Self { scaled, contexts: memory, bytes, planes, directory, streams, scratch } = self;
        directory.clear();
        streams.clear();
        let mut list = StreamList::new();
        if let Some(contexts) = model.byte_contexts() {
            directory.push(method::BYTE_CONTEXTS);
            contexts.encode(backend, position, raw, bytes, directory);
            return assemble(raw, directory, &list, streams, out);
        }
        let contexts = model.contexts();
        directory.push(if contexts.is_some() { method::CONTEXTS } else { method::PLANES });
        if let Some(scale) = model.scale() {
            match contexts {
                Some(_) => scaled.scale(backend, scale, width, position, raw),
                None => scaled.split(backend, scale, layout, position, raw, planes),
            }
            if scale.rows {
                let choice = Choice::best(backend, suits, model.row_table(), &scaled.rows);
                list.push(choice.encode(backend, &scaled.rows, directory, streams, scratch));
            }
        }
        let mut count = width;
        match contexts {
            Some((scale, contexts)) => {
                let start = streams.len();
                let words = &mut scaled.words;
                contexts.encode_words(
                    backend,
                    width,
                    scale.row_len,
                    position,
                    words,
                    memory,
                    streams,
                );
                varint::write((streams.len() - start) as u64, directory);
                list.push(Stream::Coded(start..streams.len()));
                planes.split(backend, layout.unrotated(), words);
                count -= 1;
            }
            None if model.scale().is_none() => planes.split(backend, layout, raw),
            // They are split already.
            None => {}
        }
        for (i, plane) in planes.iter().enumerate().take(count) {
            let choice = Choice::best(backend, suits, model.table(i), plane);
            list.push(choice.encode(backend, plane, directory, streams, scratch));
        }
        assemble(raw, directory, &list, streams, out)
    }
}

/// Puts the directory and the streams together, or stores the raw bytes where these are fewer.
fn assemble(
    raw: &[u8],
    directory: &[u8],
    list: &StreamList<'_>,
    streams: &[u8],
    out: &mut [u8],
) -> usize {
    let stored = max_chunk_len(raw.len());
    let len = directory.len() + list.iter().map(Stream::len).sum::<usize>();
    if len >= stored {
        out[0] = method::STORED;
        out[1..stored].copy_from_slice(raw);
        return stored;
    }
    let (head, mut rest) = out[..len].split_at_mut(directory.len());
    head.copy_from_slice(directory);
    for stream in list.iter() {
        let bytes = match stream {
            Stream::Raw(plane) => plane,
            Stream::Coded(range) => &streams[range.clone()],
        };
        let (part, after) = rest.split_at_mut(bytes.len());
        for (part, bytes) in part.chunks_mut(COPIED).zip(bytes.chunks(COPIED)) {
            part.copy_from_slice(bytes);
        }
        rest = after;
    }
    len
}
