//! From encoded bytes to raw ones, strip by strip: a few KiB of each plane are decoded and merged
//! while they are in L1.

use at1w_simd::planes::{self, Layout};
use at1w_simd::{Backend, packing};

use super::matches::Matches;
use super::{CONTEXTS, MATCHES, PLANES, STORED};
use crate::contexts::{self, Contexts};
use crate::lanes::{self, MAX_LANES};
use crate::model::{MAX_PLANES, Model};
use crate::plane::{Coded, Mode, packed};
use crate::scale::Scale;
use crate::{DecodeError, default_backend, varint};

/// Raw bytes of a strip. Its symbols make whole rounds of all lanes, and whole packed groups, in
/// every layout.
const STRIP_LEN: usize = 16 << 10;
const _: () = assert!(STRIP_LEN.is_multiple_of(MAX_PLANES * MAX_LANES));
const _: () = assert!(STRIP_LEN.is_multiple_of(MAX_PLANES * packing::GROUP));

/// Decodes chunks. Keeps its working memory from one chunk to the next: reuse it.
#[derive(Clone, Debug)]
pub struct Decoder {
    backend: Backend,
    /// A strip of each plane.
    strips: Vec<u8>,
    /// Whole planes, of coders that can't stop half-way.
    planes: Vec<u8>,
    /// The steps of rows, and the offsets that these make.
    rows: Vec<u8>,
    row_offsets: Vec<u16>,
    contexts: contexts::Memory,
    matches: Matches,
}

/// A plane that gives one strip after the other.
enum Strips<'a> {
    Decoded(&'a [u8]),
    /// All strips are the one in memory.
    Same(&'a [u8]),
    /// To be decoded into memory.
    Packed(Box<packed::Decoder<'a>>, &'a mut [u8]),
    Lanes(Box<lanes::Decoder<'a>>, &'a mut [u8]),
}

impl Strips<'_> {
    /// The next `n` symbols.
    fn next(&mut self, backend: Backend, n: usize) -> Result<&[u8], DecodeError> {
        match self {
            Self::Decoded(bytes) => Ok(bytes.split_off(..n).expect("as long as the others")),
            Self::Same(strip) => Ok(&strip[..n]),
            Self::Packed(packed, strip) => {
                packed.decode(backend, &mut strip[..n])?;
                Ok(&strip[..n])
            }
            Self::Lanes(lanes, strip) => {
                lanes.decode(backend, &mut strip[..n])?;
                Ok(&strip[..n])
            }
        }
    }

    /// Checks that the stream ended with the plane.
    fn finish(&self) -> Result<(), DecodeError> {
        match self {
            Self::Decoded(_) | Self::Same(_) => Ok(()),
            Self::Packed(packed, _) => packed.finish(),
            Self::Lanes(lanes, _) => lanes.finish(),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder without memory yet; it grows to about the size of a chunk.
    pub fn new() -> Self {
        Self {
            backend: default_backend(),
            strips: Vec::new(),
            planes: Vec::new(),
            rows: Vec::new(),
            row_offsets: Vec::new(),
            contexts: contexts::Memory::default(),
            matches: Matches::default(),
        }
    }

    /// The same decoder on another back-end than [`default_backend`].
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Decodes all of `encoded` into all of `raw`, whose length must be that of the original.
    /// `position` is how many elements of the tensor come before, as it was told to
    /// [`Encoder::encode`](super::Encoder::encode).
    ///
    /// # Errors
    /// Any bytes may be given: what [`Encoder::encode`](super::Encoder::encode) could not have
    /// written is refused with the fault it has, but damage that leaves a valid encoding is not
    /// noticed here. `raw` is then unspecified.
    ///
    /// # Panics
    /// When the elements from `position` on go beyond 64 bits.
    pub fn decode(
        &mut self,
        model: &Model,
        position: u64,
        encoded: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let width = model.layout().width();
        if !raw.len().is_multiple_of(width) {
            return Err(DecodeError::Ragged { len: raw.len(), width });
        }
        if raw.is_empty() {
            return match encoded.len() {
                0 => Ok(()),
                extra => Err(DecodeError::TrailingBytes { extra }),
            };
        }
        match encoded.split_first().ok_or(DecodeError::Truncated)? {
            (&MATCHES, bytes) => {
                // Taken out, so that what is inside can be decoded by this decoder.
                let mut matches = std::mem::take(&mut self.matches);
                let done = self.decode_matches(model.layout(), &mut matches, bytes, raw);
                self.matches = matches;
                done
            }
            _ => self.decode_simple(model, position, encoded, raw),
        }
    }

    /// Decodes what is not made of other chunks.
    fn decode_simple(
        &mut self,
        model: &Model,
        position: u64,
        encoded: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        match encoded.split_first().ok_or(DecodeError::Truncated)? {
            (&STORED, bytes) => {
                let whole = bytes.get(..raw.len()).ok_or(DecodeError::Truncated)?;
                raw.copy_from_slice(whole);
                end(&bytes[raw.len()..])
            }
            (&PLANES, bytes) if model.contexts().is_none() => {
                self.decode_planes(model, position, bytes, raw)
            }
            // A chunk that the contexts don't suit.
            (&PLANES, bytes) => self.decode_planes(&Model::plain(model.layout()), 0, bytes, raw),
            (&CONTEXTS, bytes) => {
                let contexts = model.contexts().ok_or(DecodeError::NoContexts)?;
                self.decode_contexts(model, contexts, position, bytes, raw)
            }
            (&method, _) => Err(DecodeError::UnknownMethod(method)),
        }
    }

    fn decode_matches(
        &mut self,
        layout: Layout,
        matches: &mut Matches,
        mut bytes: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let n = raw.len() / layout.width();
        let count = usize::try_from(varint::read(&mut bytes)?).ok();
        let count = count.filter(|c| (1..=Matches::max_count(n)).contains(c));
        let count = count.ok_or(DecodeError::Matches)?;
        for numbers in [&mut matches.runs, &mut matches.lens, &mut matches.distances] {
            numbers.resize(4 * count, 0);
            self.decode_part(Layout::WORD32, &mut bytes, numbers)?;
        }
        let literals = matches.check(n)?;
        matches.flips.clear();
        if layout.rotates() {
            matches.flips.resize(n - literals, 0);
            self.decode_part(Layout::BYTES, &mut bytes, &mut matches.flips)?;
            if matches.flips.iter().any(|&flip| flip > 1) {
                return Err(DecodeError::Matches);
            }
        }
        matches.literals.resize(literals * layout.width(), 0);
        match literals {
            0 => end(bytes)?,
            _ => self.decode_simple(&Model::plain(layout), 0, bytes, &mut matches.literals)?,
        }
        matches.restore(layout.width(), raw);
        Ok(())
    }

    /// Decodes a chunk inside of another, with its length before it; moves `bytes` past it.
    fn decode_part(
        &mut self,
        layout: Layout,
        bytes: &mut &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let len = usize::try_from(varint::read(bytes)?).ok();
        let encoded = len.and_then(|len| bytes.split_off(..len)).ok_or(DecodeError::Truncated)?;
        self.decode_simple(&Model::plain(layout), 0, encoded, raw)
    }

    fn decode_planes<'a>(
        &mut self,
        model: &'a Model,
        position: u64,
        mut bytes: &'a [u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let width = model.layout().width();
        let elements = raw.len() / width;
        let rows = self.read_rows(model, position, elements, &mut bytes)?;
        let mut modes = [None; MAX_PLANES];
        for (plane, mode) in modes[..width].iter_mut().enumerate() {
            *mode = Some(Mode::read(plane, elements, &mut bytes)?);
        }
        self.decode_rows(model, rows, &mut bytes)?;
        let mut coded = [const { None }; MAX_PLANES];
        for (plane, (coded, mode)) in coded.iter_mut().zip(modes.iter().flatten()).enumerate() {
            *coded = Some(mode.open(plane, elements, model.table(plane), &mut bytes)?);
        }
        end(bytes)?;
        match &mut coded {
            [Some(plane), None, ..] => {
                std::mem::replace(plane, Coded::Constant(0)).decode(self.backend, raw)
            }
            _ => self.merge_planes(model, position, coded, raw),
        }
    }

    /// Reads the directory entry of the steps of rows, if there are any.
    fn read_rows(
        &mut self,
        model: &Model,
        position: u64,
        elements: usize,
        bytes: &mut &[u8],
    ) -> Result<Option<Mode>, DecodeError> {
        let count = model.scale().map_or(0, |scale| scale.row_count(position, elements));
        self.rows.resize(count, 0);
        match count {
            0 => Ok(None),
            n => Ok(Some(Mode::read(0, n, bytes)?)),
        }
    }

    /// Decodes the steps of rows, and makes offsets of them.
    fn decode_rows<'a>(
        &mut self,
        model: &'a Model,
        mode: Option<Mode>,
        bytes: &mut &'a [u8],
    ) -> Result<(), DecodeError> {
        if let Some(mode) = mode {
            let coded = mode.open(0, self.rows.len(), model.row_table(), bytes)?;
            coded.decode(self.backend, &mut self.rows)?;
        }
        if let Some(scale) = model.scale() {
            scale.row_offsets(&self.rows, &mut self.row_offsets);
        }
        Ok(())
    }

    /// Decodes a chunk of which the symbols of contexts are the highest plane.
    fn decode_contexts<'a>(
        &mut self,
        model: &'a Model,
        (scale, contexts): (&Scale, &Contexts),
        position: u64,
        mut bytes: &'a [u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let backend = self.backend;
        let layout = model.layout();
        let width = layout.width();
        let elements = raw.len() / width;
        let prediction = contexts.prediction();
        if prediction.is_some_and(|prediction| !prediction.suits(position, elements)) {
            return Err(DecodeError::Prediction);
        }
        let rows = self.read_rows(model, position, elements, &mut bytes)?;
        let symbols_len = usize::try_from(varint::read(&mut bytes)?).ok();
        let mut modes = [None; MAX_PLANES];
        for (plane, mode) in modes[..width - 1].iter_mut().enumerate() {
            *mode = Some(Mode::read(plane, elements, &mut bytes)?);
        }
        self.decode_rows(model, rows, &mut bytes)?;
        let symbols = symbols_len.and_then(|len| bytes.split_off(..len));
        let mut symbols = contexts::Decoder::new(contexts, symbols.ok_or(DecodeError::Truncated)?)?;
        self.planes.resize(self.planes.len().max(width * elements), 0);
        let mut lower: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
        let (highest, memory) = self.planes.split_at_mut(elements);
        let memory = memory.chunks_exact_mut(elements);
        for (plane, (memory, mode)) in memory.zip(modes.iter().flatten()).enumerate() {
            mode.open(plane, elements, model.table(plane), &mut bytes)?.decode(backend, memory)?;
            lower[plane] = memory;
        }
        end(bytes)?;
        // Only the bits below a symbol may be in the plane below it.
        let below = lower[width - 2].iter().fold(0, |any, byte| any | byte);
        if u16::from(below) >> contexts.shift() != 0 {
            return Err(DecodeError::Contexts);
        }

        if let Some(prediction) = prediction {
            symbols.decode_predicted(backend, prediction, &mut self.contexts, highest)?;
        }
        let mut done = 0;
        for out in raw.chunks_mut(STRIP_LEN) {
            let n = out.len() / width;
            let strip = &mut highest[done..][..n];
            if prediction.is_none() {
                let start = position + done as u64;
                symbols.decode(
                    backend,
                    contexts,
                    scale.row_len,
                    start,
                    &mut self.contexts,
                    strip,
                )?;
            }
            let mut planes = lower.map(|plane| plane.get(done..done + n).unwrap_or(&[]));
            planes[width - 1] = strip;
            planes::merge(backend, layout.unrotated(), &planes[..width], out);
            symbols.unfold(backend, width, strip, out)?;
            scale.undo(backend, width, position, done, &self.row_offsets, out);
            done += n;
        }
        symbols.finish()
    }

    /// Decodes planes of a layout that has several.
    fn merge_planes(
        &mut self,
        model: &Model,
        position: u64,
        coded: [Option<Coded<'_>>; MAX_PLANES],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let backend = self.backend;
        let layout = model.layout();
        let width = layout.width();
        let elements = raw.len() / width;
        let whole = coded.iter().flatten().filter(|c| matches!(c, Coded::Huffman(..))).count();
        if self.planes.len() < whole * elements {
            self.planes.resize(whole * elements, 0);
        }
        self.strips.resize(STRIP_LEN, 0);
        let memory = self.strips.chunks_exact_mut(STRIP_LEN / width);
        let mut planes = self.planes.chunks_exact_mut(elements);
        let mut strips = [const { None }; MAX_PLANES];
        for ((strips, coded), memory) in
            strips.iter_mut().zip(coded.into_iter().flatten()).zip(memory)
        {
            *strips = Some(match coded {
                Coded::Raw(bytes) => Strips::Decoded(bytes),
                Coded::Constant(value) => {
                    memory.fill(value);
                    Strips::Same(memory)
                }
                Coded::Packed(packed) => Strips::Packed(packed, memory),
                Coded::Lanes(lanes) => Strips::Lanes(lanes, memory),
                Coded::Huffman(..) => {
                    let plane = planes.next().expect("counted above");
                    coded.decode(backend, plane)?;
                    Strips::Decoded(plane)
                }
            });
        }

        let mut done = 0;
        for out in raw.chunks_mut(STRIP_LEN) {
            let n = out.len() / width;
            match (&mut strips, layout) {
                ([Some(low), Some(Strips::Lanes(lanes, _)), ..], Layout::FLOAT16) => {
                    lanes.decode_float16(backend, low.next(backend, n)?, out)?;
                }
                _ => {
                    let mut slices: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
                    for (slice, strips) in slices.iter_mut().zip(strips.iter_mut().flatten()) {
                        *slice = strips.next(backend, n)?;
                    }
                    planes::merge(backend, layout, &slices[..width], out);
                }
            }
            if let Some(scale) = model.scale() {
                scale.undo(backend, width, position, done, &self.row_offsets, out);
            }
            done += n;
        }
        strips.iter().flatten().try_for_each(Strips::finish)
    }
}

fn end(rest: &[u8]) -> Result<(), DecodeError> {
    match rest.len() {
        0 => Ok(()),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}
