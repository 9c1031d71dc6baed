//! Planes in which some bits hardly ever change: the other bits are packed, and the few symbols
//! that are exceptions are kept beside them.
//!
//! Source of the idea: M. Zukowski et al., "Super-scalar RAM-CPU cache compression" (ICDE 2006),
//! which calls it patching.

use at1w_simd::Backend;
use at1w_simd::packing::{self, Field, GROUP};

use crate::cost::{BIT, Cost};
use crate::counts::Counts;
use crate::cursor::Cursor;
use crate::{DecodeError, varint};

/// The cost of an exception: its byte, and a varint of its distance from the one before.
const EXCEPTION: Cost = 20 * BIT;

/// A bit that changes in more than one of this many symbols is worth its place.
const RARE: u64 = 64;

/// The bits that are packed, and the values of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    field: Field,
    /// The bits outside of the field; zeros in it.
    fill: u8,
}

impl Packing {
    /// Returns the best packing for symbols with these counts, if there is any, and its cost.
    pub(crate) fn best(counts: &Counts) -> Option<(Self, Cost)> {
        // The upper half of the symbols has the top bit set. Folded onto the lower half, which then
        // has an upper half of its own, it takes one pass to count the ones of all bits.
        let (mut folded, mut ones) = (*counts, [0; 8]);
        for (bit, ones) in ones.iter_mut().enumerate().rev() {
            let (lower, upper) = folded[..2 << bit].split_at_mut(1 << bit);
            *ones = upper.iter().sum();
            lower.iter_mut().zip(upper).for_each(|(lower, upper)| *lower += *upper);
        }
        let total = folded[0];
        let (mut varying, mut fill) = (0, 0);
        for (bit, ones) in ones.into_iter().enumerate() {
            if ones.min(total - ones) * RARE > total {
                varying |= 1 << bit;
            } else if 2 * ones > total {
                fill |= 1 << bit;
            }
        }
        let (first, last) = match varying {
            0_u8 => (0, 0),
            bits => (bits.trailing_zeros() as u8, 7 - bits.leading_zeros() as u8),
        };
        let field = Field::new(first, last - first + 1)?;
        let packing = Self { field, fill: fill & !field.mask() };
        let inside = (0..1 << field.width()).map(|v: usize| v << field.shift());
        let inside: u64 = inside.map(|v| counts[v | usize::from(packing.fill)]).sum();
        Some((packing, packing.cost_with(total, total - inside)))
    }

    /// Returns the cost of packing `plane`.
    pub(crate) fn cost(self, backend: Backend, plane: &[u8]) -> Cost {
        let exceptions = packing::count_outside(backend, self.field, self.fill, plane);
        self.cost_with(plane.len() as u64, exceptions as u64)
    }

    fn cost_with(self, n: u64, exceptions: u64) -> Cost {
        n * Cost::from(self.field.width()) * BIT + exceptions * EXCEPTION
    }

    fn excepts(self, symbol: u8) -> bool {
        (symbol ^ self.fill) & !self.field.mask() != 0
    }

    /// Appends a byte for the field and one for the fill.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend([self.field.shift() | self.field.width() << 4, self.fill]);
    }

    /// Undoes [`Packing::write`].
    pub(crate) fn read([field, fill]: [u8; 2]) -> Result<Self, DecodeError> {
        match Field::new(field & 0xf, field >> 4) {
            Some(field) if fill & field.mask() == 0 => Ok(Self { field, fill }),
            _ => Err(DecodeError::Packing),
        }
    }
}

/// Appends the number of exceptions, the symbols that they are, their distances, and the packed
/// fields of all symbols. `gaps` is scratch memory.
pub(crate) fn encode(
    backend: Backend,
    packing: Packing,
    plane: &[u8],
    out: &mut Vec<u8>,
    gaps: &mut Vec<u8>,
) {
    let exceptions = packing::count_outside(backend, packing.field, packing.fill, plane);
    varint::write(exceptions as u64, out);
    gaps.clear();
    let mut next = 0;
    for (g, group) in plane.chunks(GROUP).enumerate().filter(|_| exceptions > 0) {
        // Hardly any group has an exception, and one pass shows that.
        if packing::count_outside(backend, packing.field, packing.fill, group) == 0 {
            continue;
        }
        for (i, &symbol) in group.iter().enumerate().filter(|(_, s)| packing.excepts(**s)) {
            let at = g * GROUP + i;
            out.push(symbol);
            varint::write((at - next) as u64, gaps);
            next = at + 1;
        }
    }
    out.extend_from_slice(gaps);
    let start = out.len();
    out.resize(start + packing.field.packed_len(plane.len()), 0);
    packing::pack(backend, packing.field, plane, &mut out[start..]);
}

/// Decodes what [`encode`] appended, piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct PackedDecoder<'a> {
    packing: Packing,
    /// Fields that are left.
    packed: Cursor<'a>,
    /// Exceptions that are left: the symbols, the distances beyond the next one.
    symbols: &'a [u8],
    gaps: Cursor<'a>,
    /// How far the next exception is from here; `None` after the last.
    next: Option<u64>,
}

impl<'a> PackedDecoder<'a> {
    /// Reads what precedes the packed fields; `stream` is the whole stream of `n` symbols.
    pub(crate) fn new(packing: Packing, n: usize, stream: &'a [u8]) -> Result<Self, DecodeError> {
        let mut packed = Cursor::new(stream);
        let count = packed.length()?;
        let symbols = packed.split(count)?;
        let gaps = packed.remaining().checked_sub(packing.field.packed_len(n));
        let gaps = Cursor::new(packed.split(gaps.ok_or(DecodeError::Truncated)?)?);
        let mut decoder = Self { packing, packed, symbols, gaps, next: None };
        decoder.advance(0)?;
        Ok(decoder)
    }

    /// Reads the distance of the next exception, `after` symbols from here.
    fn advance(&mut self, after: u64) -> Result<(), DecodeError> {
        self.next = match self.symbols {
            [] => None,
            _ => {
                let gap = self.gaps.varint()?;
                Some(after.checked_add(gap).ok_or(DecodeError::Exceptions)?)
            }
        };
        Ok(())
    }

    /// Decodes the next symbols: whole groups of them, or all that are left.
    pub(crate) fn decode(&mut self, backend: Backend, out: &mut [u8]) -> Result<(), DecodeError> {
        let Packing { field, fill } = self.packing;
        decode_fields(backend, field, fill, &mut self.packed, out)?;

        while let Some(at) = self.next
            && let Some(place) = usize::try_from(at).ok().and_then(|at| out.get_mut(at))
            && let Some((&symbol, rest)) = self.symbols.split_first()
        {
            *place = symbol;
            self.symbols = rest;
            self.advance(at + 1)?;
        }
        self.next = self.next.map(|at| at - out.len() as u64);
        Ok(())
    }

    /// Checks that the input ended with the plane.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        self.packed.end()?;
        match (self.next, self.gaps.remaining()) {
            (None, 0) => Ok(()),
            _ => Err(DecodeError::Exceptions),
        }
    }
}

/// Takes the packed fields of the next symbols, whole groups or all that are left, and decodes
/// them.
pub(crate) fn decode_fields(
    backend: Backend,
    field: Field,
    fill: u8,
    packed: &mut Cursor<'_>,
    out: &mut [u8],
) -> Result<(), DecodeError> {
    let packed = packed.split(field.packed_len(out.len()))?;
    packing::unpack(backend, field, fill, packed, out);
    check_padding(backend, field, packed, out.len())
}

/// Checks that the values which fill up the last group are zeros.
fn check_padding(
    backend: Backend,
    field: Field,
    packed: &[u8],
    n: usize,
) -> Result<(), DecodeError> {
    let last = n % GROUP;
    let padded = last.next_multiple_of(8);
    if last == padded {
        return Ok(());
    }
    let mut values = [0; GROUP];
    let start = packed.len() - field.packed_len(last);
    packing::unpack(backend, field, 0, &packed[start..], &mut values[..padded]);
    if values[last..padded] == [0; 8][..padded - last] { Ok(()) } else { Err(DecodeError::Packing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::count;

    #[test]
    fn round_trips_in_pieces() {
        let backend = Backend::best();
        for n in [1, 7, 8, 9, 511, 512, 513, 5000] {
            let plane: Vec<u8> = (0..n)
                .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[1])
                .map(|noise| if noise == 77 { 0x81 } else { noise & 0x3e | 0x40 })
                .collect();
            let (packing, _) = Packing::best(&count(backend, &plane)).unwrap();
            let mut stream = Vec::new();
            encode(backend, packing, &plane, &mut stream, &mut Vec::new());
            for piece in [n, GROUP] {
                let mut decoder = PackedDecoder::new(packing, n, &stream).unwrap();
                let mut out = vec![0; n];
                out.chunks_mut(piece).for_each(|out| decoder.decode(backend, out).unwrap());
                decoder.finish().unwrap();
                assert_eq!(out, plane, "{n}");
            }
            for cut in 0..stream.len() {
                let mut out = vec![0; n];
                let decoded = PackedDecoder::new(packing, n, &stream[..cut])
                    .and_then(|mut d| d.decode(backend, &mut out).and_then(|()| d.finish()));
                assert!(decoded.is_err(), "{n} symbols, {cut} bytes");
            }
        }
    }
}
