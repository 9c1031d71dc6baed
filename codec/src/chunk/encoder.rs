//! From raw bytes to encoded ones: the cheapest of planes, contexts and matches.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;

use super::match_finder::MatchFinder;
use super::matches::Matches;
use super::method;
use super::planes_encoder::PlanesEncoder;
use crate::difference::DifferenceEncoder;
use crate::limits::{check_raw, max_chunk_len};
use crate::model::Model;
use crate::plane::Suits;
use crate::plane::statistics::MIN_SAMPLED;
use crate::{Dtype, EncodeError, Level, ModelBuilder, Position, default_backend, varint};

/// Matches have to win one part in this.
const MIN_MATCHES_GAIN: usize = 64;

/// An encoder of chunks. It keeps its working memory from one chunk to the next, and then
/// allocates no more: reuse it.
///
/// ```
/// use at1w_codec::{Dtype, Encoder, Level, Position};
///
/// let mut encoder = Encoder::new(Level::Default);
/// let raw: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
/// let model = encoder.model(Dtype::F32, &[64, 64], [&raw[..]])?;
///
/// let mut encoded = Vec::new();
/// encoder.encode_into(&model, Position::START, &raw, &mut encoded)?;
/// assert!(encoded.len() < raw.len());
///
/// // A page of fixed size: does the chunk fit?
/// let mut page = [0; 1024];
/// assert_eq!(encoder.encode_if_fits(&model, Position::START, &raw, &mut page)?, None);
/// # Ok::<(), at1w_codec::EncodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    backend: Backend,
    level: Level,
    planes: PlanesEncoder,
    finder: MatchFinder,
    differences: DifferenceEncoder,
    /// Another encoding of the chunk, and a part of it.
    other: Vec<u8>,
    part: Vec<u8>,
    /// Room for an encoding that may not fit.
    room: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new(Level::default())
    }
}

impl Encoder {
    /// Makes an encoder without memory yet; it grows to about four times the chunk, and to about
    /// ten times a chunk that is searched for matches. At [`Level::Fast`] none is.
    pub fn new(level: Level) -> Self {
        Self {
            backend: default_backend(),
            level,
            planes: PlanesEncoder::default(),
            finder: MatchFinder::default(),
            differences: DifferenceEncoder::default(),
            other: Vec::new(),
            part: Vec::new(),
            room: Vec::new(),
        }
    }

    /// Returns the encoder on another back-end than [`default_backend`]. The encoded bytes are the
    /// same on all.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Returns a length that the encoding of `raw_len` raw bytes never exceeds: one more byte.
    pub const fn max_encoded_len(raw_len: usize) -> usize {
        max_chunk_len(raw_len)
    }

    /// Makes the model of a tensor at the level of this encoder, as [`Model::of`] does.
    ///
    /// # Errors
    /// As [`Model::of`].
    pub fn model<'a>(
        &self,
        dtype: Dtype,
        shape: &[u64],
        chunks: impl IntoIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Model, EncodeError> {
        ModelBuilder::new(dtype, self.level, shape).with_backend(self.backend).build(chunks)
    }

    /// Makes the model of a tensor of one chunk as [`Encoder::model`] does, and encodes it into the
    /// front of `out`. Returns the model, and how many bytes the chunk took. That is faster than
    /// one after the other: the tables of the model are known to suit.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    ///
    /// # Examples
    /// ```
    /// use at1w_codec::{Decoder, Dtype, Encoder, Level, Position};
    ///
    /// let raw: Vec<u8> = (0..256u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
    /// let mut out = vec![0; Encoder::max_encoded_len(raw.len())];
    /// let mut encoder = Encoder::new(Level::Default);
    /// let (model, len) = encoder.encode_tensor(Dtype::F32, &[16, 16], &raw, &mut out)?;
    ///
    /// let mut back = vec![0; raw.len()];
    /// Decoder::new().decode(&model, Position::START, &out[..len], &mut back)?;
    /// assert_eq!(back, raw);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encode_tensor(
        &mut self,
        dtype: Dtype,
        shape: &[u64],
        raw: &[u8],
        out: &mut [u8],
    ) -> Result<(Model, usize), EncodeError> {
        let layout = dtype.layout();
        check_raw(layout, Position::START, raw)?;
        check_room(raw, out)?;
        let model = self.model(dtype, shape, [raw])?;
        // All elements of a small chunk are counted, but for contexts.
        let counted = raw.len() / layout.width() < MIN_SAMPLED
            && model.contexts().is_none()
            && model.byte_contexts().is_none();
        let suits = if counted { Suits::Best } else { Suits::Maybe };
        let len = self.encode_cheapest(&model, suits, 0, raw, out);
        Ok((model, len))
    }

    /// Encodes `raw` into the front of `out`, and returns how many bytes that took: at most
    /// [`Encoder::max_encoded_len`], and 0 only for no bytes at all.
    ///
    /// The bytes depend on `position`, `raw`, `model` and the level alone. Neither the position nor
    /// the raw length is among them: keep both, or use [`crate::block`].
    ///
    /// # Errors
    /// Only for lengths and positions: see [`EncodeError`].
    pub fn encode(
        &mut self,
        model: &Model,
        position: Position,
        raw: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        check_raw(model.layout(), position, raw)?;
        check_room(raw, out)?;
        Ok(self.encode_cheapest(model, Suits::Maybe, position.elements(), raw, out))
    }

    /// Encodes `raw` as [`Encoder::encode`] does, and appends it to `out`. Returns how many bytes
    /// that took.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; `out` is then as it was.
    pub fn encode_into(
        &mut self,
        model: &Model,
        position: Position,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        check_raw(model.layout(), position, raw)?;
        let start = out.len();
        out.resize(start + Self::max_encoded_len(raw.len()), 0);
        let position = position.elements();
        let len = self.encode_cheapest(model, Suits::Maybe, position, raw, &mut out[start..]);
        out.truncate(start + len);
        Ok(len)
    }

    /// Encodes `raw` as [`Encoder::encode`] does, if that fits into `out`. Returns how many bytes
    /// that took; `None` if it does not fit, and then `out` is as it was.
    ///
    /// # Errors
    /// As [`Encoder::encode`], except that no buffer is too small.
    pub fn encode_if_fits(
        &mut self,
        model: &Model,
        position: Position,
        raw: &[u8],
        out: &mut [u8],
    ) -> Result<Option<usize>, EncodeError> {
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        let encoded = self.encode_into(model, position, raw, &mut room);
        let fits = encoded.map(|len| {
            out.get_mut(..len)?.copy_from_slice(&room);
            Some(len)
        });
        self.room = room;
        fits
    }

    /// Encodes `raw` as [`Encoder::encode_into`] does, by what it has in common with `base`: the
    /// bytes at the same place of an earlier version of the tensor. A model of a
    /// [`DifferenceBuilder`](crate::DifferenceBuilder) says how they differ.
    ///
    /// # Errors
    /// As [`Encoder::encode`], and [`EncodeError::Base`].
    pub fn encode_from(
        &mut self,
        model: &Model,
        position: Position,
        base: &[u8],
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        check_raw(model.layout(), position, raw)?;
        let (len, base_len) = (raw.len(), base.len());
        if base_len != len {
            return Err(EncodeError::Base { len, base_len });
        }
        if !raw.is_empty() && raw == base {
            out.push(method::SAME);
            return Ok(1);
        }
        let Some(differences) = model.differences().filter(|_| !raw.is_empty()) else {
            return self.encode_into(model, position, raw, out);
        };
        let start = out.len();
        out.push(method::DIFFERENCE);
        let (backend, layout) = (self.backend, model.layout());
        self.differences.encode(backend, layout, differences, base, raw, out);
        let len = out.len() - start;
        if len > raw.len() / 2 {
            // The base may not suit this chunk.
            self.other.resize(max_chunk_len(raw.len()), 0);
            let plain = Model::plain(layout);
            let other_len =
                self.planes.encode(backend, &plain, Suits::Maybe, 0, raw, &mut self.other);
            if other_len < len {
                out.truncate(start);
                out.extend_from_slice(&self.other[..other_len]);
                return Ok(other_len);
            }
        }
        Ok(len)
    }

    /// Encodes a chunk that was checked into room that is large enough.
    fn encode_cheapest(
        &mut self,
        model: &Model,
        suits: Suits,
        position: u64,
        raw: &[u8],
        out: &mut [u8],
    ) -> usize {
        let layout = model.layout();
        let plain = Model::plain(layout);
        let elements = raw.len() / layout.width();
        let predicted = model.contexts().and_then(|(_, contexts)| contexts.prediction());
        let model = match predicted {
            Some(prediction) if !prediction.suits(position, elements) => &plain,
            _ => model,
        };
        let mut len = self.planes.encode(self.backend, model, suits, position, raw, out);
        if (model.contexts().is_some() || model.byte_contexts().is_some())
            && len > raw.len() / 8 * 7
        {
            // The contexts don't suit this chunk.
            self.other.resize(max_chunk_len(raw.len()), 0);
            let (planes, other) = (&mut self.planes, &mut self.other);
            let other_len = planes.encode(self.backend, &plain, Suits::Maybe, position, raw, other);
            if other_len < len {
                out[..other_len].copy_from_slice(&self.other[..other_len]);
                len = other_len;
            }
        }
        if len == 0 || self.level == Level::Fast {
            return len;
        }
        let bits = 8 * len / elements;
        if let Some(matches) = self.finder.find(self.backend, layout, raw, bits) {
            self.other.clear();
            encode_matches(
                self.backend,
                &mut self.planes,
                layout,
                matches,
                &mut self.part,
                &mut self.other,
            );
            let other_len = self.other.len();
            // Every reader has to copy once more: it must be worth that. Finer statistics of bytes
            // take time as well, and no chunk may become larger by them.
            let gain = if model.has_fine_bytes() { 0 } else { other_len / MIN_MATCHES_GAIN };
            if other_len + gain < len {
                out[..other_len].copy_from_slice(&self.other);
                len = other_len;
            }
        }
        len
    }
}

/// Checks that there is room for any encoding of `raw`.
fn check_room(raw: &[u8], out: &[u8]) -> Result<(), EncodeError> {
    let (len, needed) = (out.len(), max_chunk_len(raw.len()));
    if len < needed { Err(EncodeError::OutputTooSmall { len, needed }) } else { Ok(()) }
}

/// Appends the count of the matches; three chunks of numbers, and of floats one of flips, with
/// their lengths; a chunk of literals.
fn encode_matches(
    backend: Backend,
    encoder: &mut PlanesEncoder,
    layout: Layout,
    matches: &Matches,
    part: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    out.push(method::MATCHES);
    varint::write(matches.count() as u64, out);
    let mut encode = |layout, raw: &[u8], with_len: bool| {
        let room = max_chunk_len(raw.len());
        part.resize(part.len().max(room), 0);
        let len = encoder.encode(backend, &Model::plain(layout), Suits::Maybe, 0, raw, part);
        if with_len {
            varint::write(len as u64, out);
        }
        out.extend_from_slice(&part[..len]);
    };
    for numbers in [&matches.literal_counts, &matches.lengths, &matches.distances] {
        encode(Layout::WORD32, numbers, true);
    }
    if layout.rotates() {
        encode(Layout::BYTES, &matches.flips, true);
    }
    encode(layout, &matches.literals, false);
}
