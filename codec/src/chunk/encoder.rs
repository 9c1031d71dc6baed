//! From raw bytes to encoded ones.

use std::ops::Range;

use super::{PLANES, STORED, max_encoded_len, mode};
use crate::model::{MAX_PLANES, Model, Table, check_raw};
use crate::planes::Planes;
use crate::statistics;
use crate::{EncodeError, lanes, varint};

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
        self.planes.split(model.layout(), raw);
        self.directory.clear();
        self.directory.push(PLANES);
        self.streams.clear();
        let mut streams = [const { Stream::Coded(0..0) }; MAX_PLANES];
        let mut len = 0;
        for (index, (plane, stream)) in self.planes.iter().zip(&mut streams).enumerate() {
            let start = self.streams.len();
            let choice = choose(model.table(index), plane);
            let (own, table) = match &choice {
                Choice::Raw => {
                    self.directory.push(mode::RAW);
                    *stream = Stream::Raw(plane);
                    len += plane.len();
                    continue;
                }
                Choice::Constant(value) => {
                    self.directory.extend([mode::CONSTANT, *value]);
                    continue;
                }
                Choice::Shared(table) => (false, *table),
                Choice::Own(table) => (true, table),
            };
            let out = &mut self.streams;
            match table {
                Table::Huffman(table) => {
                    let mode = if own { mode::HUFFMAN_OWN } else { mode::HUFFMAN_SHARED };
                    self.directory.push(mode);
                    if own {
                        table.write(out);
                    }
                    table.encode(plane, out);
                }
                Table::Lanes(table) => {
                    let lanes_log = lanes::lanes_log(plane.len());
                    let mode = if own { mode::LANES_OWN } else { mode::LANES_SHARED };
                    self.directory.push(mode | (lanes_log << 4));
                    if own {
                        table.write(out);
                    }
                    table.encode(plane, lanes_log, out, &mut self.scratch);
                }
            }
            let coded = start..self.streams.len();
            varint::write(coded.len() as u64, &mut self.directory);
            len += coded.len();
            *stream = Stream::Coded(coded);
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

/// Where the stream of a plane is.
enum Stream<'a> {
    /// The plane itself, so that it is copied but once.
    Raw(&'a [u8]),
    /// Among the streams of the encoder.
    Coded(Range<usize>),
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

/// The cheapest way to code `plane` that is worth it.
fn choose<'a>(shared: Option<&'a Table>, plane: &[u8]) -> Choice<'a> {
    if let Some(value) = statistics::constant(plane) {
        return Choice::Constant(value);
    }
    if statistics::looks_random(plane) {
        return Choice::Raw;
    }
    let counts = statistics::count(plane);
    let flush = lanes::flush_cost(plane.len());
    let mut limit = statistics::limit(plane.len() as u64);
    let mut choice = Choice::Raw;
    if let Some(table) = shared
        && let Some(cost) = table.cost(&counts, flush)
        && cost < limit
    {
        choice = Choice::Shared(table);
        // A table of its own must save something.
        limit = cost - cost / statistics::MIN_GAIN;
    }
    match Table::best(&counts, flush, limit) {
        Some((table, _)) => Choice::Own(table),
        None => choice,
    }
}
