//! From the directory entry and the stream of a plane to its symbols.

use std::borrow::Cow;

use at1w_simd::Backend;

use super::mode;
use super::packed::{self, Packing};
use crate::lanes::MAX_LANES_LOG;
use crate::model::Table;
use crate::{DecodeError, huffman, lanes, varint};

/// The directory entry of a plane.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    byte: u8,
    /// Of a constant plane.
    value: u8,
    /// Of a packed plane.
    packing: Option<Packing>,
    /// Bytes of the stream.
    len: usize,
}

impl Mode {
    /// Reads the entry of a plane of `n` symbols and moves `bytes` past it. `plane` is for errors.
    pub(crate) fn read(plane: usize, n: usize, bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let byte = take::<1>(bytes)?[0];
        let mut mode = Self { byte, value: 0, packing: None, len: 0 };
        match (byte & 0xf, byte >> 4) {
            (mode::RAW, 0) => {
                mode.len = n;
                return Ok(mode);
            }
            (mode::CONSTANT, 0) => {
                mode.value = take::<1>(bytes)?[0];
                return Ok(mode);
            }
            (mode::PACKED, 0) => mode.packing = Some(Packing::read(take(bytes)?)?),
            (mode::HUFFMAN_SHARED | mode::HUFFMAN_OWN, 0)
            | (mode::LANES_SHARED | mode::LANES_OWN, 0..=MAX_LANES_LOG) => {}
            _ => return Err(DecodeError::UnknownMode { plane, mode: byte }),
        }
        mode.len = usize::try_from(varint::read(bytes)?).map_err(|_| DecodeError::Truncated)?;
        Ok(mode)
    }

    /// The head of the stream of a plane of `n` symbols; moves `bytes` past the whole of it. `table` is that of the
    /// model.
    pub(crate) fn open<'a>(
        self,
        plane: usize,
        n: usize,
        table: Option<&'a Table>,
        bytes: &mut &'a [u8],
    ) -> Result<Coded<'a>, DecodeError> {
        let mut stream;
        (stream, *bytes) = bytes.split_at_checked(self.len).ok_or(DecodeError::Truncated)?;
        let lanes_log = self.byte >> 4;
        Ok(match (self.byte & 0xf, table, self.packing) {
            (mode::RAW, ..) => Coded::Raw(stream),
            (mode::CONSTANT, ..) => Coded::Constant(self.value),
            (_, _, Some(packing)) => {
                Coded::Packed(Box::new(packed::Decoder::new(packing, n, stream)?))
            }
            (mode::HUFFMAN_SHARED, Some(Table::Huffman(table)), _) => {
                Coded::Huffman(Box::new(Cow::Borrowed(table)), stream)
            }
            (mode::LANES_SHARED, Some(Table::Lanes(table)), _) => Coded::Lanes(Box::new(
                lanes::Decoder::new(Cow::Borrowed(table), lanes_log, stream)?,
            )),
            (mode::HUFFMAN_SHARED | mode::LANES_SHARED, ..) => {
                return Err(DecodeError::NoTable { plane });
            }
            (mode::HUFFMAN_OWN, ..) => {
                let table = huffman::Table::read(&mut stream)?;
                Coded::Huffman(Box::new(Cow::Owned(table)), stream)
            }
            _ => {
                let table = lanes::Table::read(&mut stream)?;
                Coded::Lanes(Box::new(lanes::Decoder::new(Cow::Owned(table), lanes_log, stream)?))
            }
        })
    }
}

/// A plane that is yet to be decoded.
pub(crate) enum Coded<'a> {
    Raw(&'a [u8]),
    Constant(u8),
    Packed(Box<packed::Decoder<'a>>),
    Huffman(Box<Cow<'a, huffman::Table>>, &'a [u8]),
    Lanes(Box<lanes::Decoder<'a>>),
}

impl Coded<'_> {
    /// Decodes all symbols: as many as [`Mode::open`] was told.
    pub(crate) fn decode(self, backend: Backend, plane: &mut [u8]) -> Result<(), DecodeError> {
        match self {
            Self::Raw(bytes) => plane.copy_from_slice(bytes),
            Self::Constant(value) => plane.fill(value),
            Self::Packed(mut packed) => {
                packed.decode(backend, plane)?;
                packed.finish()?;
            }
            Self::Huffman(table, stream) => table.decode(backend, stream, plane)?,
            Self::Lanes(mut lanes) => {
                lanes.decode(backend, plane)?;
                lanes.finish()?;
            }
        }
        Ok(())
    }
}

/// The next bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (&taken, rest) = bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}
