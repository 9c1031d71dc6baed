//! Decoding a lane stream, piece by piece.

use at1w_simd::Backend;
use at1w_simd::lanes::{self, START};

use super::MAX_LANES;
use super::table::LaneTable;
use crate::DecodeError;
use crate::cursor::Cursor;

/// Decodes what [`LaneTable::encode`] appended, piece by piece.
pub(crate) struct LaneDecoder<'a> {
    table: &'a LaneTable,
    states: [u16; MAX_LANES],
    lanes: usize,
    input: lanes::Input<'a>,
}

impl<'a> LaneDecoder<'a> {
    /// Reads what precedes the shared bytes; `stream` is the whole stream.
    pub(crate) fn new(
        table: &'a LaneTable,
        lanes_log: u8,
        stream: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let mut input = Cursor::new(stream);
        let mut escaped: &[u8] = &[];
        if table.kernel.has_escape() {
            let count = input.length()?;
            escaped = input.split(count)?;
        }
        let lanes = 64 << lanes_log;
        let mut states = [START; MAX_LANES];
        for (state, bytes) in states.iter_mut().zip(input.arrays(lanes)?) {
            *state = u16::from_le_bytes(*bytes);
        }
        if states.iter().any(|&s| s < START) {
            return Err(DecodeError::LaneState);
        }
        Ok(Self { table, states, lanes, input: lanes::Input { stream: input.rest(), escaped } })
    }

    /// Decodes the next symbols: a multiple of [`MAX_LANES`] of them, or all that are left.
    pub(crate) fn decode(&mut self, backend: Backend, out: &mut [u8]) -> Result<(), DecodeError> {
        let states = &mut self.states[..self.lanes];
        lanes::decode(backend, &self.table.kernel, states, &mut self.input, out).map_err(fault)
    }

    /// Decodes the high bytes of 16-bit floats as [`LaneDecoder::decode`] does, and merges them
    /// with the `low` ones.
    pub(crate) fn decode_float16(
        &mut self,
        backend: Backend,
        low: &[u8],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let states = &mut self.states[..self.lanes];
        lanes::decode_float16(backend, &self.table.kernel, states, &mut self.input, low, out)
            .map_err(fault)
    }

    /// Checks that the input ended with the plane, and every lane where it began.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if !self.input.stream.is_empty() || self.states.iter().any(|&s| s != START) {
            return Err(DecodeError::LaneEnd);
        }
        if self.input.escaped.is_empty() { Ok(()) } else { Err(DecodeError::Escapes) }
    }
}

fn fault(exhausted: lanes::Exhausted) -> DecodeError {
    match exhausted {
        lanes::Exhausted::Stream => DecodeError::Truncated,
        lanes::Exhausted::Escaped => DecodeError::Escapes,
    }
}
