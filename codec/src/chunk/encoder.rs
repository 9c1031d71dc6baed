//! From raw bytes to encoded ones.

use super::{PLANES, STORED, max_encoded_len};
use crate::EncodeError;
use crate::model::{MAX_PLANES, Model, check_raw};
use crate::plane::Choice;
use crate::plane::encoder::Stream;
use crate::planes::Planes;

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
        if raw.is_empty() {
            return Ok(0);
        }
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
            return Ok(needed);
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
        Ok(len)
    }
}
