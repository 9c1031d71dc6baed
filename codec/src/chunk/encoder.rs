//! From raw bytes to encoded ones.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::matches::Matches;
use super::{CONTEXTS, MATCHES, PLANES, STORED, max_encoded_len};
use crate::contexts;
use crate::model::{MAX_PLANES, Model, check_raw};
use crate::plane::Choice;
use crate::plane::encoder::Stream;
use crate::planes::Planes;
use crate::{EncodeError, Level, default_backend, varint};

/// Matches have to win one part in this.
const MATCHES_GAIN: usize = 64;

/// Encodes chunks. Keeps its working memory from one chunk to the next: reuse it.
#[derive(Clone, Debug)]
pub struct Encoder {
    backend: Backend,
    level: Level,
    /// Elements after scaling.
    words: Vec<u8>,
    /// The steps of rows, and the offsets that these make.
    rows: Vec<u8>,
    row_offsets: Vec<u16>,
    contexts: contexts::Memory,
    planes: Planes,
    directory: Vec<u8>,
    streams: Vec<u8>,
    scratch: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new(Level::default())
    }
}

impl Encoder {
    /// An encoder without memory yet; it grows to about four times the chunk. At
    /// [`Level::Fast`] it does not look for matches.
    pub fn new(level: Level) -> Self {
        Self {
            backend: default_backend(),
            level,
            words: Vec::new(),
            rows: Vec::new(),
            row_offsets: Vec::new(),
            contexts: contexts::Memory::default(),
            planes: Planes::default(),
            directory: Vec::new(),
            streams: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The same encoder on another back-end than [`default_backend`]; what it encodes is the same as
    /// well.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Encodes `raw` into the front of `out` and returns how many bytes that took, at most
    /// [`max_encoded_len`] and 0 only for no bytes at all.
    ///
    /// `position` is how many elements of the tensor come before. The bytes depend on it, `raw`,
    /// `model` and the level alone. Neither the position nor the raw length is among them: keep them, or use
    /// [`crate::block`].
    ///
    /// # Errors
    /// Only for lengths: see [`EncodeError`].
    pub fn encode(
        &mut self,
        model: &Model,
        position: u64,
        raw: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        check_raw(model.layout(), raw)?;
        let needed = max_encoded_len(raw.len());
        if out.len() < needed {
            return Err(EncodeError::OutputTooSmall { len: out.len(), needed });
        }
        let plain = Model::plain(model.layout());
        let elements = raw.len() / model.layout().width();
        let predicted = model.contexts().and_then(|(_, contexts)| contexts.prediction());
        let model = match predicted {
            Some(prediction) if !prediction.suits(position, elements) => &plain,
            _ => model,
        };
        let mut len = self.encode_simple(model, position, raw, out);
        if model.contexts().is_some() && len > raw.len() / 8 * 7 {
            // The contexts don't suit this chunk.
            let mut other = vec![0; needed];
            let other_len = self.encode_simple(&plain, position, raw, &mut other);
            if other_len < len {
                out[..other_len].copy_from_slice(&other[..other_len]);
                len = other_len;
            }
        }
        if len == 0 || self.level == Level::Fast {
            return Ok(len);
        }
        let bits = 8 * len / elements;
        if let Some(matches) = Matches::find(model.layout(), raw, bits) {
            let matches = encode_matches(self.backend, model.layout(), &matches);
            // Every reader has to copy once more: it must be worth that.
            if matches.len() + matches.len() / MATCHES_GAIN < len {
                out[..matches.len()].copy_from_slice(&matches);
                return Ok(matches.len());
            }
        }
        Ok(len)
    }

    /// [`Encoder::encode`] without looking for matches, into enough room.
    fn encode_simple(&mut self, model: &Model, position: u64, raw: &[u8], out: &mut [u8]) -> usize {
        if raw.is_empty() {
            return 0;
        }
        let backend = self.backend;
        let needed = max_encoded_len(raw.len());
        let layout = model.layout();
        let width = layout.width();
        self.rows.clear();
        self.directory.clear();
        self.streams.clear();
        let mut streams = Vec::with_capacity(2 + MAX_PLANES);
        let mut rows = None;
        if let Some(scale) = model.scale() {
            self.words.clear();
            self.words.extend_from_slice(raw);
            scale.measure_rows(backend, width, position, raw, &mut self.rows);
            scale.row_offsets(&self.rows, &mut self.row_offsets);
            scale.apply(backend, width, position, &self.row_offsets, &mut self.words);
            rows = scale.rows.then_some(&self.rows[..]);
        }
        let contexts = model.contexts();
        self.directory.push(if contexts.is_some() { CONTEXTS } else { PLANES });
        let (directory, out_streams) = (&mut self.directory, &mut self.streams);
        if let Some(rows) = rows {
            let choice = Choice::best(backend, model.row_table(), rows);
            streams.push(choice.encode(backend, rows, directory, out_streams, &mut self.scratch));
        }
        let mut planes = width;
        match (contexts, model.scale()) {
            (Some((scale, contexts)), _) => {
                let start = out_streams.len();
                let (words, memory) = (&mut self.words, &mut self.contexts);
                contexts.encode_words(
                    backend,
                    width,
                    scale.row_len,
                    position,
                    words,
                    memory,
                    out_streams,
                );
                varint::write((out_streams.len() - start) as u64, directory);
                streams.push(Stream::Coded(start..out_streams.len()));
                self.planes.split(backend, layout.unrotated(), &self.words);
                planes -= 1;
            }
            (None, Some(_)) => self.planes.split(backend, layout, &self.words),
            (None, None) => self.planes.split(backend, layout, raw),
        }
        for (i, plane) in self.planes.iter().enumerate().take(planes) {
            let choice = Choice::best(backend, model.table(i), plane);
            streams.push(choice.encode(backend, plane, directory, out_streams, &mut self.scratch));
        }

        let len = self.directory.len() + streams.iter().map(Stream::len).sum::<usize>();
        if len >= needed {
            out[0] = STORED;
            out[1..needed].copy_from_slice(raw);
            return needed;
        }
        let (directory, mut rest) = out[..len].split_at_mut(self.directory.len());
        directory.copy_from_slice(&self.directory);
        for stream in streams {
            let bytes = match stream {
                Stream::Raw(plane) => plane,
                Stream::Coded(range) => &self.streams[range],
            };
            let (part, after) = rest.split_at_mut(bytes.len());
            part.copy_from_slice(bytes);
            rest = after;
        }
        len
    }
}

/// The count of the sequences; three chunks of numbers, and of floats one of flips, with their
/// lengths; a chunk of literals.
fn encode_matches(backend: Backend, layout: Layout, matches: &Matches) -> Vec<u8> {
    let mut out = vec![MATCHES];
    varint::write(matches.count() as u64, &mut out);
    let mut encoder = Encoder::default().with_backend(backend);
    let mut encode = |layout, raw: &[u8], with_len: bool, out: &mut Vec<u8>| {
        let mut encoded = vec![0; max_encoded_len(raw.len())];
        let len = encoder.encode_simple(&Model::plain(layout), 0, raw, &mut encoded);
        if with_len {
            varint::write(len as u64, out);
        }
        out.extend_from_slice(&encoded[..len]);
    };
    for numbers in [&matches.runs, &matches.lens, &matches.distances] {
        encode(Layout::WORD32, numbers, true, &mut out);
    }
    if layout.rotates() {
        encode(Layout::BYTES, &matches.flips, true, &mut out);
    }
    encode(layout, &matches.literals, false, &mut out);
    out
}
