//! One chunk: raw bytes in, encoded bytes out, and back.
//!
//! The first byte names the method. [`STORED`] is followed by the raw bytes. [`PLANES`] is
//! followed by a directory of all planes, a mode each with what it needs, and then by their
//! streams. `docs/FORMAT.md` has the exact layout.

use at1w_simd::histogram;
use at1w_simd::planes;

use crate::cost::{BYTE, Cost};
use crate::model::{MAX_PLANES, Model, Table, check_raw};
use crate::planes::Planes;
use crate::{DecodeError, EncodeError, huffman, lanes, varint};

/// The most raw bytes that one chunk may hold: 256 MiB. Half a MiB is a good size.
pub const MAX_RAW_LEN: usize = 1 << 28;

/// Bytes that the encoding of `raw_len` raw bytes never exceeds: one more than they are.
pub const fn max_encoded_len(raw_len: usize) -> usize {
    raw_len + 1
}

const STORED: u8 = 0;
const PLANES: u8 = 1;

/// Modes of a plane: the low four bits of its mode byte. The high four are [`lanes::lanes_log`]
/// in the two lane modes, and 0 in the others.
mod mode {
    pub(super) const RAW: u8 = 0;
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const HUFFMAN_SHARED: u8 = 2;
    pub(super) const HUFFMAN_OWN: u8 = 3;
    pub(super) const LANES_SHARED: u8 = 4;
    pub(super) const LANES_OWN: u8 = 5;
}

/// Encodes chunks. Keeps its working memory from one chunk to the next: reuse it.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    planes: Planes,
    directory: Vec<u8>,
    streams: Vec<u8>,
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder without memory yet; it grows to about three times the chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes `raw` into the front of `out` and returns how many bytes that took, at most
    /// [`max_encoded_len`] and 0 only for no bytes at all.
    ///
    /// The bytes depend on `raw` and `model` alone. The raw length is not among them: keep it, or
    /// use [`crate::block`].
    ///
    /// # Errors
    /// Only for lengths: see [`EncodeError`].
    pub fn encode(
        &mut self,
        model: &Model,
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
        self.encode_planes(model, raw);
        let (head, tail) = (&self.directory, &self.streams);
        let len = head.len() + tail.len();
        if len < needed {
            out[..head.len()].copy_from_slice(head);
            out[head.len()..len].copy_from_slice(tail);
            return Ok(len);
        }
        out[0] = STORED;
        out[1..needed].copy_from_slice(raw);
        Ok(needed)
    }

    fn encode_planes(&mut self, model: &Model, raw: &[u8]) {
        self.planes.split(model.layout(), raw);
        self.directory.clear();
        self.directory.push(PLANES);
        self.streams.clear();
        for (index, plane) in self.planes.iter().enumerate() {
            let choice = choose(model.table(index), plane);
            let start = self.streams.len();
            let (own, table) = match &choice {
                Choice::Raw => {
                    self.directory.push(mode::RAW);
                    self.streams.extend_from_slice(plane);
                    continue;
                }
                Choice::Constant(value) => {
                    self.directory.extend([mode::CONSTANT, *value]);
                    continue;
                }
                Choice::Shared(table) => (false, *table),
                Choice::Own(table) => (true, table),
            };
            match table {
                Table::Huffman(table) => {
                    let mode = if own { mode::HUFFMAN_OWN } else { mode::HUFFMAN_SHARED };
                    self.directory.push(mode);
                    if own {
                        table.write(&mut self.streams);
                    }
                    table.encode(plane, &mut self.streams);
                }
                Table::Lanes(table) => {
                    let lanes_log = lanes::lanes_log(plane.len());
                    let mode = if own { mode::LANES_OWN } else { mode::LANES_SHARED };
                    self.directory.push(mode | (lanes_log << 4));
                    if own {
                        table.write(&mut self.streams);
                    }
                    table.encode(plane, lanes_log, &mut self.streams, &mut self.scratch);
                }
            }
            varint::write((self.streams.len() - start) as u64, &mut self.directory);
        }
    }
}

/// How a plane of a chunk is coded.
enum Choice<'a> {
    Raw,
    Constant(u8),
    /// With the table of the model.
    Shared(&'a Table),
    /// With a table that the stream begins with.
    Own(Table),
}

/// The cheapest way to code `plane`.
fn choose<'a>(shared: Option<&'a Table>, plane: &[u8]) -> Choice<'a> {
    let mut counts = [0u32; 256];
    histogram::add(plane, &mut counts);
    if counts[plane[0] as usize] as usize == plane.len() {
        return Choice::Constant(plane[0]);
    }
    let counts = counts.map(u64::from);
    let flush = lanes::flush_cost(plane.len());
    let mut limit = plane.len() as Cost * BYTE;
    let mut choice = Choice::Raw;
    if let Some(table) = shared
        && let Some(cost) = table.cost(&counts, flush)
        && cost < limit
    {
        (choice, limit) = (Choice::Shared(table), cost);
    }
    match Table::best(&counts, flush, limit) {
        Some((table, _)) => Choice::Own(table),
        None => choice,
    }
}

/// Decodes chunks. Keeps its working memory from one chunk to the next: reuse it.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    planes: Planes,
}

/// Where the bytes of a plane are.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// In the encoded bytes, as they are.
    Raw(&'a [u8]),
    /// In the decoder's memory.
    Decoded,
}

impl Decoder {
    /// A decoder without memory yet; it grows to the size of a chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes all of `encoded` into all of `raw`, whose length must be that of the original.
    ///
    /// # Errors
    /// Any bytes may be given: what [`Encoder::encode`] could not have written is refused with the
    /// fault it has, but damage that leaves a valid encoding is not noticed here. `raw` is then
    /// unspecified.
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
        let layout = model.layout();
        let width = layout.width();
        let elements = raw.len() / width;
        let (modes, mut streams) = read_directory(width, elements, bytes)?;

        self.planes.reset(layout, raw.len());
        let mut sources = [Source::Decoded; MAX_PLANES];
        for (index, plane) in self.planes.iter_mut().enumerate() {
            let Mode { byte, value, len } = modes[index];
            let mut stream;
            (stream, streams) = streams.split_at_checked(len).ok_or(DecodeError::Truncated)?;
            let no_table = DecodeError::NoTable { plane: index };
            match byte & 0xf {
                mode::RAW => sources[index] = Source::Raw(stream),
                mode::CONSTANT => plane.fill(value),
                mode::HUFFMAN_SHARED => match model.table(index) {
                    Some(Table::Huffman(table)) => table.decode(stream, plane)?,
                    _ => return Err(no_table),
                },
                mode::HUFFMAN_OWN => huffman::Table::read(&mut stream)?.decode(stream, plane)?,
                mode::LANES_SHARED => match model.table(index) {
                    Some(Table::Lanes(table)) => table.decode(stream, byte >> 4, plane)?,
                    _ => return Err(no_table),
                },
                _ => lanes::Table::read(&mut stream)?.decode(stream, byte >> 4, plane)?,
            }
        }
        end(streams)?;

        let mut merged: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
        for ((slot, decoded), source) in merged.iter_mut().zip(self.planes.iter()).zip(sources) {
            *slot = match source {
                Source::Raw(bytes) => bytes,
                Source::Decoded => decoded,
            };
        }
        planes::merge(layout, &merged[..width], raw);
        Ok(())
    }
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

/// Reads the directory, and returns it with the streams that follow it.
fn read_directory(
    width: usize,
    elements: usize,
    mut bytes: &[u8],
) -> Result<([Mode; MAX_PLANES], &[u8]), DecodeError> {
    let mut modes = [Mode::default(); MAX_PLANES];
    for (plane, entry) in modes[..width].iter_mut().enumerate() {
        let (&byte, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        bytes = rest;
        entry.byte = byte;
        match (byte & 0xf, byte >> 4) {
            (mode::RAW, 0) => entry.len = elements,
            (mode::CONSTANT, 0) => {
                let (&value, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
                (entry.value, bytes) = (value, rest);
            }
            (mode::HUFFMAN_SHARED | mode::HUFFMAN_OWN, 0)
            | (mode::LANES_SHARED | mode::LANES_OWN, 0..=lanes::MAX_LANES_LOG) => {
                let len = varint::read(&mut bytes)?;
                entry.len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
            }
            _ => return Err(DecodeError::UnknownMode { plane, mode: byte }),
        }
    }
    Ok((modes, bytes))
}

fn end(rest: &[u8]) -> Result<(), DecodeError> {
    match rest.len() {
        0 => Ok(()),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}
