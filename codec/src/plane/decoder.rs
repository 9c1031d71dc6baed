//! From the directory entry and the stream of a plane to its symbols.

use super::mode;
use super::packed::{PackedDecoder, Packing};
use super::table::PlaneTable;
use crate::DecodeError;
use crate::alias::{self, AliasDecoder, AliasTable};
use crate::cursor::Cursor;
use crate::huffman::HuffmanTable;
use crate::lanes::{LaneDecoder, LaneTable, MAX_LANES_LOG};
use at1w_simd::Backend;

/// The directory entry of a plane.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// The mode byte.
    byte: u8,
    /// The symbol of a constant plane.
    value: u8,
    /// The packing of a packed plane.
    packing: Option<Packing>,
    /// Bytes of the stream.
    len: usize,
}

/// Memory for the table that a stream begins with. A decoder keeps it from one chunk to the next.
#[derive(Clone, Debug)]
pub(crate) struct OwnTables {
    huffman: HuffmanTable,
    lanes: Option<LaneTable>,
}

impl Default for OwnTables {
    fn default() -> Self {
        Self { huffman: HuffmanTable::NONE, lanes: None }
    }
}

impl Entry {
    /// Reads the entry of a plane of `n` symbols. `plane` is for errors.
    pub(crate) fn read(
        plane: usize,
        n: usize,
        input: &mut Cursor<'_>,
    ) -> Result<Self, DecodeError> {
        let byte = input.u8()?;
        let mut entry = Self { byte, value: 0, packing: None, len: 0 };
        match (byte & 0xf, byte >> 4) {
            (mode::RAW, 0) => {
                entry.len = n;
                return Ok(entry);
            }
            (mode::CONSTANT, 0) => {
                entry.value = input.u8()?;
                return Ok(entry);
            }
            (mode::PACKED, 0) => entry.packing = Some(Packing::read(input.array()?)?),
            (mode::HUFFMAN_SHARED | mode::HUFFMAN_OWN, 0)
            | (mode::LANES_SHARED | mode::LANES_OWN, 0..=MAX_LANES_LOG)
            | (mode::ALIAS_SHARED, 0..=alias::MAX_LANES_LOG) => {}
            _ => return Err(DecodeError::UnknownMode { plane, mode: byte }),
        }
        entry.len = input.length()?;
        Ok(entry)
    }

    /// Takes the stream of a plane of `n` symbols, and reads its head. `table` is that of the
    /// model, `own` is memory for one that the stream begins with.
    pub(crate) fn open<'a, 'b: 'a>(
        self,
        plane: usize,
        n: usize,
        table: Option<&'a PlaneTable>,
        own: &'a mut OwnTables,
        input: &mut Cursor<'b>,
    ) -> Result<CodedPlane<'a>, DecodeError> {
        let mut stream = Cursor::new(input.split(self.len)?);
        let lanes_log = self.byte >> 4;
        Ok(match (self.byte & 0xf, table, self.packing) {
            (mode::RAW, ..) => CodedPlane::Raw(stream.rest()),
            (mode::CONSTANT, ..) => CodedPlane::Constant(self.value),
            (_, _, Some(packing)) => {
                CodedPlane::Packed(PackedDecoder::new(packing, n, stream.rest())?)
            }
            (mode::HUFFMAN_SHARED, Some(PlaneTable::Huffman(table)), _) => {
                CodedPlane::Huffman(table, stream.rest())
            }
            (mode::LANES_SHARED, Some(PlaneTable::Lanes(table)), _) => {
                CodedPlane::Lanes(table, lanes_log, stream.rest())
            }
            (mode::ALIAS_SHARED, Some(PlaneTable::Alias(table)), _) => {
                CodedPlane::Alias(table, lanes_log, stream.rest())
            }
            (mode::HUFFMAN_SHARED | mode::LANES_SHARED | mode::ALIAS_SHARED, ..) => {
                return Err(DecodeError::NoTable { plane });
            }
            (mode::HUFFMAN_OWN, ..) => {
                own.huffman.read_over(n, &mut stream)?;
                CodedPlane::Huffman(&own.huffman, stream.rest())
            }
            _ => {
                let table = own.lanes.insert(LaneTable::read(&mut stream)?);
                CodedPlane::Lanes(table, lanes_log, stream.rest())
            }
        })
    }
}

/// A plane that is yet to be decoded. It is small: the lanes of a plane, which are a kilobyte, are
/// opened where they stay.
pub(crate) enum CodedPlane<'a> {
    Raw(&'a [u8]),
    Constant(u8),
    Packed(PackedDecoder<'a>),
    Huffman(&'a HuffmanTable, &'a [u8]),
    /// The table, how many lanes as [`LaneDecoder::new`] takes it, and the stream.
    Lanes(&'a LaneTable, u8, &'a [u8]),
    /// The same, as [`AliasDecoder::new`] takes it.
    Alias(&'a AliasTable, u8, &'a [u8]),
}

impl CodedPlane<'_> {
    /// Decodes all symbols: as many as [`Entry::open`] was told.
    pub(crate) fn decode(self, backend: Backend, plane: &mut [u8]) -> Result<(), DecodeError> {
        match self {
            Self::Raw(bytes) => plane.copy_from_slice(bytes),
            Self::Constant(value) => plane.fill(value),
            Self::Packed(mut packed) => {
                packed.decode(backend, plane)?;
                packed.finish()?;
            }
            Self::Huffman(table, stream) => table.decode(backend, stream, plane)?,
            Self::Lanes(table, lanes_log, stream) => {
                let mut lanes = LaneDecoder::new(table, lanes_log, stream)?;
                lanes.decode(backend, plane)?;
                lanes.finish()?;
            }
            Self::Alias(table, lanes_log, stream) => {
                let mut lanes = AliasDecoder::new(table, lanes_log, plane.len(), stream)?;
                lanes.decode(backend, plane)?;
                lanes.finish()?;
            }
        }
        Ok(())
    }
}
