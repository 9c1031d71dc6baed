//! The probabilities of symbols in one class, as products of two: of sign and exponent, and of the
//! mantissa bits under the exponent.

use crate::{DecodeError, varint};

/// Exponents of the window; one more stands for the escape.
pub(super) const EXPONENTS: usize = 15;

/// What three bits of mantissa may be.
pub(super) const MANTISSAS: usize = 8;

/// Sign times 16, plus exponent; 15 is the escape, 31 is nothing and not stored.
pub(super) type Exponents = [u16; 31];

/// By exponent.
pub(super) type Mantissas = [[u16; MANTISSAS]; EXPONENTS];

/// Frequencies of sign and exponent add up to this.
pub(super) const EXPONENT_TOTAL: u16 = 1 << 12;

/// Frequencies of mantissas add up to this.
pub(super) const MANTISSA_TOTAL: u16 = 1 << 8;

/// Slots of a table, as a power of two.
pub(super) const SLOT_BITS: u32 = 14;

pub(super) const SLOTS: usize = 1 << SLOT_BITS;

/// How many of the products of the two frequencies make a slot.
const PER_SLOT: u32 = (EXPONENT_TOTAL as u32 * MANTISSA_TOTAL as u32) >> SLOT_BITS;

pub(super) fn read_exponents(input: &mut &[u8]) -> Result<Exponents, DecodeError> {
    let mut exponents = [0; 31];
    for freq in &mut exponents {
        let read = varint::read(input)?;
        *freq = u16::try_from(read).map_err(|_| DecodeError::Classes)?;
    }
    match exponents.iter().map(|&f| u32::from(f)).sum::<u32>() == EXPONENT_TOTAL.into() {
        true => Ok(exponents),
        false => Err(DecodeError::Classes),
    }
}

pub(super) fn read_mantissas(input: &mut &[u8]) -> Result<Mantissas, DecodeError> {
    let mut mantissas = [[MANTISSA_TOTAL / MANTISSAS as u16; MANTISSAS]; EXPONENTS];
    for mantissas in &mut mantissas {
        let uniform = *mantissas;
        let (&first, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
        if first == 0 {
            *input = rest;
            continue;
        }
        let (bytes, rest) =
            input.split_first_chunk::<{ MANTISSAS - 1 }>().ok_or(DecodeError::Truncated)?;
        *input = rest;
        let sum = bytes.iter().map(|&b| u16::from(b)).sum::<u16>();
        let last = MANTISSA_TOTAL.checked_sub(sum).ok_or(DecodeError::Classes)?;
        for (mantissa, &byte) in mantissas.iter_mut().zip(bytes) {
            *mantissa = byte.into();
        }
        mantissas[MANTISSAS - 1] = last;
        if *mantissas == uniform {
            return Err(DecodeError::Classes);
        }
    }
    Ok(mantissas)
}

/// What coding in one class takes.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The symbol that owns each slot.
    pub(super) symbols: Box<[u8; SLOTS]>,
    /// Of each symbol how many slots, and the first one.
    pub(super) ranges: Box<[Range; 256]>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) freq: u16,
    pub(super) start: u16,
}

impl Table {
    pub(super) fn new(exponents: &Exponents, mantissas: &Mantissas) -> Self {
        let mut symbols = vec![0; SLOTS];
        let mut ranges = Box::new([Range::default(); 256]);
        let mut before = 0;
        for (symbol, range) in ranges.iter_mut().enumerate() {
            let weight = match (exponents.get(symbol >> 3), symbol >> 3 & 15, symbol & 7) {
                (None, ..) => 0,
                (Some(&e), EXPONENTS, 0) => u32::from(e) * u32::from(MANTISSA_TOTAL),
                (_, EXPONENTS, _) => 0,
                (Some(&e), exponent, m) => u32::from(e) * u32::from(mantissas[exponent][m]),
            };
            let (start, end) = (before / PER_SLOT, (before + weight) / PER_SLOT);
            *range = Range { freq: (end - start) as u16, start: start as u16 };
            symbols[start as usize..end as usize].fill(symbol as u8);
            before += weight;
        }
        let symbols = symbols.into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!());
        Self { symbols, ranges }
    }
}
