//! From encoded bytes to raw ones.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::matches::Matches;
use super::method;
use super::planes_decoder::PlanesDecoder;
use crate::cursor::Cursor;
use crate::difference::DifferenceDecoder;
use crate::model::Model;
use crate::{DecodeError, Position, default_backend};

/// A decoder of chunks. It keeps its working memory from one chunk to the next, and then allocates
/// no more: reuse it.
///
/// ```
/// use at1w_codec::{Decoder, Dtype, Encoder, Level, Model, Position};
///
/// let model = Model::plain(Dtype::U16.layout());
/// let mut encoded = Vec::new();
/// Encoder::new(Level::Fast).encode_into(&model, Position::START, &[7; 100], &mut encoded)?;
///
/// let mut raw = [0; 100];
/// Decoder::new().decode(&model, Position::START, &encoded, &mut raw)?;
/// assert_eq!(raw, [7; 100]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    backend: Backend,
    planes: PlanesDecoder,
    matches: Matches,
    differences: DifferenceDecoder,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Makes a decoder without memory yet; it grows to about the size of a chunk.
    pub fn new() -> Self {
        let (planes, matches, differences) = Default::default();
        Self { backend: default_backend(), planes, matches, differences }
    }

    /// Returns the decoder on another back-end than [`default_backend`]. The decoded bytes are the
    /// same on all.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Decodes all of `encoded` into all of `raw`, whose length must be that of the original, at
    /// the position at which it was encoded.
    ///
    /// A chunk has no checksum. **Damage often leaves a valid encoding, which decodes to wrong
    /// bytes without an error**: two of three flipped bits do. So can a wrong position, or the
    /// model of another tensor. Keep a checksum beside it, or use a checked block of
    /// [`crate::block`].
    ///
    /// # Errors
    /// Any bytes may be given: those that [`Encoder::encode`](super::Encoder::encode) could not
    /// have written are refused with the fault that they have. `raw` is then unspecified.
    /// [`DecodeError::is_misuse`] tells a wrong call from wrong bytes.
    pub fn decode(
        &mut self,
        model: &Model,
        position: Position,
        encoded: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        self.decode_with(model, position, None, encoded, raw)
    }

    /// Decodes a chunk that [`Encoder::encode_from`](super::Encoder::encode_from) made of the same
    /// base, as [`Decoder::decode`] does. With another base, **decoding succeeds and returns wrong
    /// bytes**.
    ///
    /// # Errors
    /// As [`Decoder::decode`], and [`DecodeError::BaseLength`].
    pub fn decode_from(
        &mut self,
        model: &Model,
        position: Position,
        base: &[u8],
        encoded: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let (base_len, len) = (base.len(), raw.len());
        if base_len != len {
            return Err(DecodeError::BaseLength { base_len, len });
        }
        self.decode_with(model, position, Some(base), encoded, raw)
    }

    fn decode_with(
        &mut self,
        model: &Model,
        position: Position,
        base: Option<&[u8]>,
        encoded: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let (len, width) = (raw.len(), model.layout().width());
        if !len.is_multiple_of(width) {
            return Err(DecodeError::Ragged { len, width });
        }
        if !position.has_room(len / width) {
            return Err(DecodeError::Position { elements: position.elements() });
        }
        let input = Cursor::new(encoded);
        if raw.is_empty() {
            return input.end();
        }
        match encoded {
            [method::MATCHES, bytes @ ..] => {
                self.decode_matches(model.layout(), Cursor::new(bytes), raw)
            }
            [method::SAME, bytes @ ..] => {
                raw.copy_from_slice(base.ok_or(DecodeError::NoBase)?);
                Cursor::new(bytes).end()
            }
            [method::DIFFERENCE, bytes @ ..] => {
                let base = base.ok_or(DecodeError::NoBase)?;
                let tables = model.differences().ok_or(DecodeError::NoDifferences)?;
                let input = Cursor::new(bytes);
                let layout = model.layout();
                self.differences.decode(self.backend, layout, tables, input, base, raw)
            }
            _ => self.planes.decode(self.backend, model, position.elements(), encoded, raw),
        }
    }

    /// Decodes a chunk of `raw_len` raw bytes as [`Decoder::decode`] does, and appends them to
    /// `out`. The length is trusted: `out` grows by it first.
    ///
    /// # Errors
    /// As [`Decoder::decode`]; `out` then has the bytes that it had.
    pub fn decode_into(
        &mut self,
        model: &Model,
        position: Position,
        encoded: &[u8],
        raw_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let start = out.len();
        out.resize(start + raw_len, 0);
        let decoded = self.decode(model, position, encoded, &mut out[start..]);
        decoded.inspect_err(|_| out.truncate(start))
    }

    fn decode_matches(
        &mut self,
        layout: Layout,
        mut input: Cursor<'_>,
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let Self { backend, planes, matches, .. } = self;
        let backend = *backend;
        let n = raw.len() / layout.width();
        let count = usize::try_from(input.varint()?).ok();
        let count = count.filter(|count| (1..=Matches::max_count(n)).contains(count));
        let count = count.ok_or(DecodeError::Matches)?;
        for numbers in [&mut matches.literal_counts, &mut matches.lengths, &mut matches.distances] {
            numbers.resize(4 * count, 0);
            decode_part(backend, planes, Layout::WORD32, &mut input, numbers)?;
        }
        let literals = matches.check(n)?;
        matches.flips.clear();
        if layout.rotates() {
            matches.flips.resize(n - literals, 0);
            decode_part(backend, planes, Layout::BYTES, &mut input, &mut matches.flips)?;
            if matches.flips.iter().any(|&flip| flip > 1) {
                return Err(DecodeError::Matches);
            }
        }
        matches.literals.resize(literals * layout.width(), 0);
        match literals {
            0 => input.end()?,
            _ => planes.decode(
                backend,
                &Model::plain(layout),
                0,
                input.rest(),
                &mut matches.literals,
            )?,
        }
        matches.restore(layout.width(), raw);
        Ok(())
    }
}

/// Decodes a chunk inside of another, with its length before it.
fn decode_part(
    backend: Backend,
    planes: &mut PlanesDecoder,
    layout: Layout,
    input: &mut Cursor<'_>,
    raw: &mut [u8],
) -> Result<(), DecodeError> {
    let len = input.length()?;
    planes.decode(backend, &Model::plain(layout), 0, input.split(len)?, raw)
}
