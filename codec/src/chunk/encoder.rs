//! From raw bytes to encoded ones.

use at1w_simd::planes::Layout;

use super::repeats::Repeats;
use super::{PLANES, REPEATS, STORED, max_encoded_len};
use crate::model::{MAX_PLANES, Model, check_raw};
use crate::plane::Choice;
use crate::plane::encoder::Stream;
use crate::planes::Planes;
use crate::{EncodeError, varint};

/// Repeats have to win one part in this.
const REPEATS_GAIN: usize = 64;

/// Encodes chunks. Keeps its working memory from one chunk to the next: reuse it.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    /// Elements after scaling.
    words: Vec<u8>,
    /// The steps of rows, and the offsets that these make.
    rows: Vec<u8>,
    row_offsets: Vec<u16>,
    planes: Planes,
    directory: Vec<u8>,
    streams: Vec<u8>,
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder without memory yet; it grows to about four times the chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes `raw` into the front of `out` and returns how many bytes that took, at most
    /// [`max_encoded_len`] and 0 only for no bytes at all.
    ///
    /// `position` is how many elements of the tensor come before. The bytes depend on it, `raw` and
    /// `model` alone. Neither the position nor the raw length is among them: keep them, or use
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
        let len = self.encode_simple(model, position, raw, out);
        let width = model.layout().width();
        if len == 0 {
            return Ok(0);
        }
        let bits = 8 * len / (raw.len() / width);
        if let Some(repeats) = Repeats::find(model.layout(), raw, bits) {
            let repeats = encode_repeats(model.layout(), &repeats);
            // Every reader has to copy once more: it must be worth that.
            if repeats.len() + repeats.len() / REPEATS_GAIN < len {
                out[..repeats.len()].copy_from_slice(&repeats);
                return Ok(repeats.len());
            }
        }
        Ok(len)
    }

    /// [`Encoder::encode`] without looking for repeats, into enough room.
    fn encode_simple(&mut self, model: &Model, position: u64, raw: &[u8], out: &mut [u8]) -> usize {
        if raw.is_empty() {
            return 0;
        }
        let needed = max_encoded_len(raw.len());
        let layout = model.layout();
        self.rows.clear();
        match model.scale() {
            None => self.planes.split(layout, raw),
            Some(scale) => {
                self.words.clear();
                self.words.extend_from_slice(raw);
                scale.measure_rows(layout.width(), position, raw, &mut self.rows);
                scale.row_offsets(&self.rows, &mut self.row_offsets);
                scale.apply(layout.width(), position, &self.row_offsets, &mut self.words);
                self.planes.split(layout, &self.words);
            }
        }
        self.directory.clear();
        self.directory.push(PLANES);
        self.streams.clear();
        let rows = (!self.rows.is_empty()).then_some((model.row_table(), &self.rows[..]));
        let planes = self.planes.iter().enumerate().map(|(i, plane)| (model.table(i), plane));
        let mut streams = [const { Stream::Coded(0..0) }; 1 + MAX_PLANES];
        let mut len = 0;
        for ((table, plane), stream) in rows.into_iter().chain(planes).zip(&mut streams) {
            *stream = Choice::best(table, plane).encode(
                plane,
                &mut self.directory,
                &mut self.streams,
                &mut self.scratch,
            );
            len += stream.len();
        }

        len += self.directory.len();
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
fn encode_repeats(layout: Layout, repeats: &Repeats) -> Vec<u8> {
    let mut out = vec![REPEATS];
    varint::write(repeats.count() as u64, &mut out);
    let mut encoder = Encoder::new();
    let mut encode = |layout, raw: &[u8], with_len: bool, out: &mut Vec<u8>| {
        let mut encoded = vec![0; max_encoded_len(raw.len())];
        let len = encoder.encode_simple(&Model::plain(layout), 0, raw, &mut encoded);
        if with_len {
            varint::write(len as u64, out);
        }
        out.extend_from_slice(&encoded[..len]);
    };
    for numbers in [&repeats.runs, &repeats.lens, &repeats.distances] {
        encode(Layout::WORD32, numbers, true, &mut out);
    }
    if layout.rotates() {
        encode(Layout::BYTES, &repeats.flips, true, &mut out);
    }
    encode(layout, &repeats.literals, false, &mut out);
    out
}
