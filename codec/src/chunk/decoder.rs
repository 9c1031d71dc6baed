//! From encoded bytes to raw ones, strip by strip: a few KiB of each plane are decoded and merged
//! while they are in L1.

use std::borrow::Cow;

use at1w_simd::planes::{self, Layout};

use super::{PLANES, STORED, mode};
use crate::lanes::{MAX_LANES, MAX_LANES_LOG};
use crate::model::{MAX_PLANES, Model, Table};
use crate::{DecodeError, huffman, lanes, varint};

/// Raw bytes of a strip. Its symbols make whole rounds of all lanes in every layout.
const STRIP_LEN: usize = 16 << 10;
const _: () = assert!(STRIP_LEN.is_multiple_of(MAX_PLANES * MAX_LANES));

/// Decodes chunks. Keeps its working memory from one chunk to the next: reuse it.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// A strip of each plane.
    strips: Vec<u8>,
    /// Whole planes, of coders that can't stop half-way.
    planes: Vec<u8>,
}

/// A plane that is yet to be decoded.
enum Coded<'a> {
    Raw(&'a [u8]),
    Constant(u8),
    Huffman(Box<Cow<'a, huffman::Table>>, &'a [u8]),
    Lanes(Box<lanes::Decoder<'a>>),
}

impl Coded<'_> {
    fn decode(self, plane: &mut [u8]) -> Result<(), DecodeError> {
        match self {
            Self::Raw(bytes) => plane.copy_from_slice(bytes),
            Self::Constant(value) => plane.fill(value),
            Self::Huffman(table, stream) => table.decode(stream, plane)?,
            Self::Lanes(mut lanes) => {
                lanes.decode(plane)?;
                lanes.finish()?;
            }
        }
        Ok(())
    }
}

/// A plane that gives one strip after the other.
enum Strips<'a> {
    Decoded(&'a [u8]),
    /// All strips are the one in memory.
    Same(&'a [u8]),
    /// To be decoded into memory.
    Lanes(Box<lanes::Decoder<'a>>, &'a mut [u8]),
}

impl Decoder {
    /// A decoder without memory yet; it grows to about the size of a chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes all of `encoded` into all of `raw`, whose length must be that of the original.
    ///
    /// # Errors
    /// Any bytes may be given: what [`Encoder::encode`](super::Encoder::encode) could not have
    /// written is refused with the fault it has, but damage that leaves a valid encoding is not
    /// noticed here. `raw` is then unspecified.
    pub fn decode(
        &mut self,
        model: &Model,
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
            (&STORED, bytes) => {
                let whole = bytes.get(..raw.len()).ok_or(DecodeError::Truncated)?;
                raw.copy_from_slice(whole);
                end(&bytes[raw.len()..])
            }
            (&PLANES, bytes) => self.decode_planes(model, bytes, raw),
            (&method, _) => Err(DecodeError::UnknownMethod(method)),
        }
    }

    fn decode_planes(
        &mut self,
        model: &Model,
        bytes: &[u8],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let width = model.layout().width();
        let mut coded = read_planes(model, bytes, raw.len() / width)?;
        if let [Some(plane), None, ..] = &mut coded {
            let plane = std::mem::replace(plane, Coded::Constant(0));
            return plane.decode(raw);
        }
        self.merge_planes(model, coded, raw)
    }

    /// Decodes planes of a layout that has several.
    fn merge_planes(
        &mut self,
        model: &Model,
        coded: [Option<Coded<'_>>; MAX_PLANES],
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
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
                Coded::Lanes(lanes) => Strips::Lanes(lanes, memory),
                Coded::Huffman(..) => {
                    let plane = planes.next().expect("counted above");
                    coded.decode(plane)?;
                    Strips::Decoded(plane)
                }
            });
        }

        if let ([Some(Strips::Decoded(low)), Some(Strips::Lanes(lanes, _)), ..], Layout::FLOAT16) =
            (&mut strips, layout)
        {
            lanes.decode_float16(low, raw)?;
            return lanes.finish();
        }
        for out in raw.chunks_mut(STRIP_LEN) {
            let n = out.len() / width;
            let mut slices: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
            for (slice, strips) in slices.iter_mut().zip(strips.iter_mut().flatten()) {
                *slice = match strips {
                    Strips::Decoded(bytes) => bytes.split_off(..n).expect("as long as the others"),
                    Strips::Same(strip) => &strip[..n],
                    Strips::Lanes(lanes, strip) => {
                        lanes.decode(&mut strip[..n])?;
                        &strip[..n]
                    }
                };
            }
            planes::merge(layout, &slices[..width], out);
        }
        for strips in strips.iter().flatten() {
            if let Strips::Lanes(lanes, _) = strips {
                lanes.finish()?;
            }
        }
        Ok(())
    }
}

/// Reads the directory and the head of each plane's stream: a plane of the layout each.
fn read_planes<'a>(
    model: &'a Model,
    mut bytes: &'a [u8],
    elements: usize,
) -> Result<[Option<Coded<'a>>; MAX_PLANES], DecodeError> {
    let width = model.layout().width();
    let mut modes = [Mode::default(); MAX_PLANES];
    for (plane, mode) in modes[..width].iter_mut().enumerate() {
        *mode = Mode::read(plane, elements, &mut bytes)?;
    }
    let mut coded = [const { None }; MAX_PLANES];
    for (plane, (coded, mode)) in coded.iter_mut().zip(&modes[..width]).enumerate() {
        let mut stream;
        (stream, bytes) = bytes.split_at_checked(mode.len).ok_or(DecodeError::Truncated)?;
        let lanes_log = mode.byte >> 4;
        let no_table = DecodeError::NoTable { plane };
        *coded = Some(match (mode.byte & 0xf, model.table(plane)) {
            (mode::RAW, _) => Coded::Raw(stream),
            (mode::CONSTANT, _) => Coded::Constant(mode.value),
            (mode::HUFFMAN_SHARED, Some(Table::Huffman(table))) => {
                Coded::Huffman(Box::new(Cow::Borrowed(table)), stream)
            }
            (mode::LANES_SHARED, Some(Table::Lanes(table))) => Coded::Lanes(Box::new(
                lanes::Decoder::new(Cow::Borrowed(table), lanes_log, stream)?,
            )),
            (mode::HUFFMAN_SHARED | mode::LANES_SHARED, _) => return Err(no_table),
            (mode::HUFFMAN_OWN, _) => {
                let table = huffman::Table::read(&mut stream)?;
                Coded::Huffman(Box::new(Cow::Owned(table)), stream)
            }
            _ => {
                let table = lanes::Table::read(&mut stream)?;
                Coded::Lanes(Box::new(lanes::Decoder::new(Cow::Owned(table), lanes_log, stream)?))
            }
        });
    }
    end(bytes)?;
    Ok(coded)
}

/// The directory entry of a plane.
#[derive(Clone, Copy, Default)]
struct Mode {
    byte: u8,
    /// Of a constant plane.
    value: u8,
    /// Bytes of the stream.
    len: usize,
}

impl Mode {
    /// Reads the entry of a plane and moves `bytes` past it.
    fn read(plane: usize, elements: usize, bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut next = || {
            let (&byte, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
            *bytes = rest;
            Ok(byte)
        };
        let byte = next()?;
        let (mut value, mut len) = (0, 0);
        match (byte & 0xf, byte >> 4) {
            (mode::RAW, 0) => len = elements,
            (mode::CONSTANT, 0) => value = next()?,
            (mode::HUFFMAN_SHARED | mode::HUFFMAN_OWN, 0)
            | (mode::LANES_SHARED | mode::LANES_OWN, 0..=MAX_LANES_LOG) => {
                len = usize::try_from(varint::read(bytes)?).map_err(|_| DecodeError::Truncated)?;
            }
            _ => return Err(DecodeError::UnknownMode { plane, mode: byte }),
        }
        Ok(Self { byte, value, len })
    }
}

fn end(rest: &[u8]) -> Result<(), DecodeError> {
    match rest.len() {
        0 => Ok(()),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}
