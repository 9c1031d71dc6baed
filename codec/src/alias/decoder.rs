//! Decoding a stream of alias lanes, piece by piece.

use at1w_simd::Backend;
use at1w_simd::alias::{self, START};
use at1w_simd::lanes::Exhausted;
use at1w_simd::packing::{Field, GROUP};

use super::MAX_LANES;
use super::table::AliasTable;
use crate::DecodeError;
use crate::cursor::Cursor;
use crate::plane::packed;

/// Symbols whose low bits are unpacked at a time, so that they stay in L1: whole packed groups.
const PIECE: usize = 8 * GROUP;

/// Decodes what [`AliasTable::encode`] appended, piece by piece.
pub(crate) struct AliasDecoder<'a> {
    table: &'a alias::AliasTable,
    /// The low bits that are left, if symbols have any.
    low: Option<(Field, Cursor<'a>)>,
    states: [u32; MAX_LANES],
    lanes: usize,
    input: alias::Input<'a>,
}

impl<'a> AliasDecoder<'a> {
    /// Reads what precedes the shared units; `stream` is the whole stream of `n` symbols.
    pub(crate) fn new(
        table: &'a AliasTable,
        lanes_log: u8,
        n: usize,
        stream: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let mut input = Cursor::new(stream);
        let mut escaped: &[u8] = &[];
        if table.has_escape() {
            let count = input.length()?;
            escaped = input.split(count)?;
        }
        let low = match table.low_bits() {
            Some(field) => Some((field, Cursor::new(input.split(field.packed_len(n))?))),
            None => None,
        };
        let lanes = 64 << lanes_log;
        let mut states = [START; MAX_LANES];
        for (state, bytes) in states.iter_mut().zip(input.arrays(lanes)?) {
            *state = u32::from_le_bytes(*bytes);
        }
        if states.iter().any(|&s| s < START) {
            return Err(DecodeError::LaneState);
        }
        let (units, odd) = input.rest().as_chunks();
        if !odd.is_empty() {
            return Err(DecodeError::LaneEnd);
        }
        let input = alias::Input { units, escaped };
        Ok(Self { table: table.kernel(), low, states, lanes, input })
    }

    /// Decodes the next symbols: whole packed groups, which are a multiple of [`MAX_LANES`], or all
    /// that are left.
    pub(crate) fn decode(&mut self, backend: Backend, out: &mut [u8]) -> Result<(), DecodeError> {
        let mut bits = [0; PIECE];
        for out in out.chunks_mut(PIECE) {
            let bits = &mut bits[..out.len()];
            self.decode_bits(backend, bits)?;
            let states = &mut self.states[..self.lanes];
            alias::decode(backend, self.table, states, &mut self.input, bits, out)
                .map_err(fault)?;
        }
        Ok(())
    }

    /// Decodes the high bytes of 16-bit floats as [`AliasDecoder::decode`] does, and merges them
    /// with the `low` ones.
    pub(crate) fn decode_float16(
        &mut self,
        backend: Backend,
        low: &[u8],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let mut bits = [0; PIECE];
        for (low, out) in low.chunks(PIECE).zip(out.chunks_mut(2 * PIECE)) {
            let bits = &mut bits[..low.len()];
            self.decode_bits(backend, bits)?;
            let states = &mut self.states[..self.lanes];
            let below = [&*bits, low];
            alias::decode_float16(backend, self.table, states, &mut self.input, below, out)
                .map_err(fault)?;
        }
        Ok(())
    }

    /// Decodes the low bits of the next symbols into zeros, if they have any.
    fn decode_bits(&mut self, backend: Backend, bits: &mut [u8]) -> Result<(), DecodeError> {
        match &mut self.low {
            Some((field, low)) => packed::decode_fields(backend, *field, 0, low, bits),
            None => Ok(()),
        }
    }

    /// Checks that the input ended with the plane, and every lane where it began.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if !self.input.units.is_empty() || self.states.iter().any(|&s| s != START) {
            return Err(DecodeError::LaneEnd);
        }
        if self.input.escaped.is_empty() { Ok(()) } else { Err(DecodeError::Escapes) }
    }
}

fn fault(exhausted: Exhausted) -> DecodeError {
    match exhausted {
        Exhausted::Stream => DecodeError::Truncated,
        Exhausted::Escaped => DecodeError::Escapes,
    }
}
