//! Range ANS with a state of 32 bits for each lane, which renormalises by 16 at a time.
//!
//! Source: as for the lanes of `at1w-simd`, with larger states and 2^14 slots.

use at1w_simd::scale;

use super::table::{Range, SLOT_BITS, SLOTS, Table};
use super::{Classes, ESCAPE, FLIP};
use crate::{DecodeError, varint};

/// Symbols that are looked through for escapes at a time.
const BLOCK: usize = 64;

/// Where every lane starts encoding and ends decoding.
const START: u32 = 1 << 16;

/// The most lanes, as a power of two.
const MAX_LANES_LOG: u8 = 5;

/// How many lanes a plane of `n` symbols is coded with: 1 << this.
fn lanes_log(n: usize) -> u8 {
    if n < 4096 { 2 } else { 4 }
}

impl Classes {
    /// Makes symbols and what is below of the top bits of scaled words, in the place of these, and
    /// appends the stream of the symbols.
    pub(crate) fn encode_words(
        &self,
        width: usize,
        of_elements: &[u8],
        words: &mut [u8],
        out: &mut Vec<u8>,
    ) {
        let (mut symbols, mut escapes) = (Vec::new(), Vec::new());
        for (i, word) in words.chunks_exact_mut(width).enumerate() {
            let top = u16::from_le_bytes([word[width - 2], word[width - 1]]);
            let class = of_elements.get(i).copied().unwrap_or(0);
            let (mut symbol, rest, mut escape) = Self::fold(self.shift, top);
            if escape.is_none() && !self.has(class, symbol) {
                (symbol, escape) = (ESCAPE, Some(top >> self.shift));
            }
            escapes.extend(escape);
            symbols.push(symbol);
            word[width - 2..].copy_from_slice(&[rest, symbol]);
        }
        self.encode(of_elements, &symbols, &escapes, out);
    }

    /// Appends the stream of `symbols`, which come from [`Classes::fold`], of elements of these
    /// class bytes: the number of escapes and these, the number of lanes and their states, and the
    /// shared 16-bit units. Each symbol has a slot.
    fn encode(&self, of_elements: &[u8], symbols: &[u8], escapes: &[u16], out: &mut Vec<u8>) {
        let tables = self.tables();
        let lanes_log = lanes_log(symbols.len());
        let mut states = vec![START; 1 << lanes_log];
        let mut units = Vec::with_capacity(symbols.len());
        for (i, &symbol) in symbols.iter().enumerate().rev() {
            let class = of_elements.get(i).copied().unwrap_or(0);
            let flip = if symbol == ESCAPE { 0 } else { class & FLIP };
            let table = &tables[usize::from(class & !FLIP)];
            let Range { freq, start } = table.ranges[usize::from(symbol ^ flip)];
            let state = &mut states[i & ((1 << lanes_log) - 1)];
            let freq = u32::from(freq);
            if u64::from(*state) >= u64::from(freq) << (32 - SLOT_BITS) {
                units.push(*state as u16);
                *state >>= 16;
            }
            *state = (*state / freq << SLOT_BITS) + *state % freq + u32::from(start);
        }
        varint::write(escapes.len() as u64, out);
        out.extend(escapes.iter().flat_map(|e| e.to_le_bytes()));
        out.push(lanes_log);
        out.extend(states.iter().flat_map(|s| s.to_le_bytes()));
        out.extend(units.iter().rev().flat_map(|u| u.to_le_bytes()));
    }

    /// Whether a symbol of an element of this class byte can be coded.
    fn has(&self, class: u8, symbol: u8) -> bool {
        let table = &self.tables()[usize::from(class & !FLIP)];
        table.ranges[usize::from(symbol ^ (class & FLIP))].freq > 0
    }
}

/// Decodes what [`Classes::encode`] appended, piece by piece.
pub(crate) struct Decoder<'a> {
    shift: u8,
    tables: &'a [Table],
    escapes: &'a [[u8; 2]],
    states: [u32; 1 << MAX_LANES_LOG],
    lanes: usize,
    units: &'a [[u8; 2]],
}

impl<'a> Decoder<'a> {
    /// Reads what precedes the shared units; `input` is the whole stream.
    pub(crate) fn new(classes: &'a Classes, mut input: &'a [u8]) -> Result<Self, DecodeError> {
        let escapes = usize::try_from(varint::read(&mut input)?).ok();
        let (escapes, rest) = escapes
            .and_then(|count| input.split_at_checked(count.checked_mul(2)?))
            .ok_or(DecodeError::Truncated)?;
        let (&lanes_log, rest) = rest.split_first().ok_or(DecodeError::Truncated)?;
        if lanes_log > MAX_LANES_LOG {
            return Err(DecodeError::LaneState);
        }
        let lanes = 1 << lanes_log;
        let (flushed, units) = rest.split_at_checked(4 * lanes).ok_or(DecodeError::Truncated)?;
        let mut states = [START; 1 << MAX_LANES_LOG];
        for (state, bytes) in states.iter_mut().zip(flushed.as_chunks().0) {
            *state = u32::from_le_bytes(*bytes);
        }
        if states.iter().any(|&state| state < START) {
            return Err(DecodeError::LaneState);
        }
        let (units, odd) = units.as_chunks();
        if !odd.is_empty() {
            return Err(DecodeError::LaneEnd);
        }
        let shift = classes.shift;
        Ok(Self {
            shift,
            tables: classes.tables(),
            escapes: escapes.as_chunks().0,
            states,
            lanes,
            units,
        })
    }

    /// Decodes the next symbols, of elements of these class bytes: a symbol of each lane equally
    /// often, or all that are left.
    pub(crate) fn decode(&mut self, of_elements: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
        match self.lanes {
            16 => self.decode_lanes::<16>(of_elements, out),
            _ => self.decode_lanes::<1>(of_elements, out),
        }
    }

    /// L lanes at a time; 1 is any number of lanes.
    fn decode_lanes<const L: usize>(
        &mut self,
        of_elements: &[u8],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let units = self.units;
        let (blocks, tail) = out.as_chunks_mut::<L>();
        let mut taken = 0;
        let one_class = &self.tables[0];
        if of_elements.is_empty() && L > 1 {
            let states = self.states.first_chunk_mut::<L>().expect("no more than there are");
            for block in blocks.iter_mut() {
                for (symbol, state) in block.iter_mut().zip(&mut *states) {
                    *symbol = step(one_class, state, units, &mut taken);
                }
            }
        } else {
            let mut lane = 0;
            for (i, block) in blocks.iter_mut().enumerate() {
                for (k, symbol) in block.iter_mut().enumerate() {
                    let class = of_elements.get(i * L + k).copied().unwrap_or(0);
                    // The model's classes were checked to be fewer than its tables.
                    let table = &self.tables[usize::from(class & !FLIP)];
                    *symbol = step(table, &mut self.states[lane], units, &mut taken);
                    let flip = if *symbol == ESCAPE { 0 } else { class & FLIP };
                    *symbol ^= flip;
                    lane = if lane + 1 == self.lanes { 0 } else { lane + 1 };
                }
            }
        }
        let done = blocks.len() * L;
        for (k, symbol) in tail.iter_mut().enumerate() {
            let class = of_elements.get(done + k).copied().unwrap_or(0);
            let table = &self.tables[usize::from(class & !FLIP)];
            *symbol = step(table, &mut self.states[k % self.lanes], units, &mut taken);
            *symbol ^= if *symbol == ESCAPE { 0 } else { class & FLIP };
        }
        self.units = self.units.get(taken..).ok_or(DecodeError::Truncated)?;
        Ok(())
    }

    /// Puts the top bits of words together, of which these are the symbols, and what escapes stand
    /// for in their place.
    pub(crate) fn unfold(
        &mut self,
        width: usize,
        symbols: &[u8],
        words: &mut [u8],
    ) -> Result<(), DecodeError> {
        // Only the bits below a symbol may be in the byte below it.
        let (shift, below) = (self.shift, words.iter().skip(width - 2).step_by(width));
        if below.fold(0, |any, byte| any | byte) >> shift != 0 {
            return Err(DecodeError::Packing);
        }
        scale::unfold(width, shift.into(), words);
        for (block, words) in symbols.chunks(BLOCK).zip(words.chunks_mut(width * BLOCK)) {
            // Hardly any has an escape, and that is known at once.
            if !block.contains(&ESCAPE) {
                continue;
            }
            for (_, word) in
                block.iter().zip(words.chunks_exact_mut(width)).filter(|(s, _)| **s == ESCAPE)
            {
                let (bytes, rest) = self.escapes.split_first().ok_or(DecodeError::Escapes)?;
                self.escapes = rest;
                let kept = u16::from_le_bytes(*bytes);
                if kept >> (16 - shift) != 0 {
                    return Err(DecodeError::Escapes);
                }
                let below = u16::from(word[width - 2]) & ((1 << shift) - 1);
                word[width - 2..].copy_from_slice(&(kept << shift | below).to_le_bytes());
            }
        }
        Ok(())
    }

    /// Checks that the input ended with the plane, and every lane where it began.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if !self.units.is_empty() || self.states.iter().any(|&state| state != START) {
            return Err(DecodeError::LaneEnd);
        }
        if self.escapes.is_empty() { Ok(()) } else { Err(DecodeError::Escapes) }
    }
}

/// Decodes a symbol from a lane, which takes a unit if it falls below its range.
#[inline(always)]
fn step(table: &Table, state: &mut u32, units: &[[u8; 2]], taken: &mut usize) -> u8 {
    let slot = *state as usize & (SLOTS - 1);
    let symbol = table.symbols[slot];
    let Range { freq, start } = table.ranges[usize::from(symbol)];
    // The slot is one of the symbol's: no more than 2^14 * 2^18 in all.
    let x = u32::from(freq) * (*state >> SLOT_BITS) + slot as u32 - u32::from(start);
    // Whether a lane takes a unit is as good as random: a select instead of a branch.
    let unit = units.get(*taken).map_or(0, |unit| u16::from_le_bytes(*unit));
    let refill = x < START;
    *state = if refill { x << 16 | u32::from(unit) } else { x };
    *taken += usize::from(refill);
    symbol
}
