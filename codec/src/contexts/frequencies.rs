//! The probabilities of symbols in one context, as products of two: of sign and exponent, and of
//! the mantissa bits under the exponent.

use at1w_simd::contexts::{SLOT_BITS, SYMBOLS};

use crate::DecodeError;
use crate::cursor::Cursor;
use crate::symbol::{EXPONENTS, MANTISSAS, Symbol};

/// Frequencies by sign times 16, plus exponent; 15 is the escape, 31 is nothing and not stored.
pub(crate) type Exponents = [u16; 31];

/// Frequencies of mantissas by exponent.
pub(crate) type Mantissas = [[u16; MANTISSAS]; EXPONENTS];

/// Frequencies of sign and exponent add up to this.
pub(crate) const EXPONENT_TOTAL: u16 = 1 << 12;

/// Frequencies of mantissas add up to this.
pub(crate) const MANTISSA_TOTAL: u16 = 1 << 8;

/// How many of the products of the two frequencies make a slot.
const PER_SLOT: u32 = (EXPONENT_TOTAL as u32 * MANTISSA_TOTAL as u32) >> SLOT_BITS;

/// Reads a varint for each sign and exponent.
pub(super) fn read_exponents(input: &mut Cursor<'_>) -> Result<Exponents, DecodeError> {
    let mut exponents = [0; 31];
    for freq in &mut exponents {
        *freq = u16::try_from(input.varint()?).map_err(|_| DecodeError::Contexts)?;
    }
    // With a slot for the escape everything can be encoded.
    let sum = exponents.iter().map(|&f| u32::from(f)).sum::<u32>();
    match sum == EXPONENT_TOTAL.into() && exponents[EXPONENTS] > 0 {
        true => Ok(exponents),
        false => Err(DecodeError::Contexts),
    }
}

/// Reads a byte 0, or seven bytes, for each exponent.
pub(super) fn read_mantissas(input: &mut Cursor<'_>) -> Result<Mantissas, DecodeError> {
    let mut mantissas = [[MANTISSA_TOTAL / MANTISSAS as u16; MANTISSAS]; EXPONENTS];
    for mantissas in &mut mantissas {
        let uniform = *mantissas;
        let first = input.u8()?;
        if first == 0 {
            continue;
        }
        let others = input.array::<{ MANTISSAS - 2 }>()?;
        let bytes = || std::iter::once(first).chain(others);
        let sum = bytes().map(u16::from).sum::<u16>();
        let last = MANTISSA_TOTAL.checked_sub(sum).ok_or(DecodeError::Contexts)?;
        for (mantissa, byte) in mantissas.iter_mut().zip(bytes()) {
            *mantissa = byte.into();
        }
        mantissas[MANTISSAS - 1] = last;
        if *mantissas == uniform {
            return Err(DecodeError::Contexts);
        }
    }
    Ok(mantissas)
}

/// Returns how many slots each symbol of a context has.
///
/// A symbol whose products make no slot has none.
pub(super) fn freqs(exponents: &Exponents, mantissas: &Mantissas) -> [u16; SYMBOLS] {
    let mut freqs = [0; SYMBOLS];
    let mut before = 0;
    for (symbol, freq) in (0..=u8::MAX).map(Symbol::from_byte).zip(&mut freqs) {
        let mantissa = match mantissas.get(symbol.exponent()) {
            Some(mantissas) => mantissas[symbol.mantissa()],
            None if symbol.is_escape() => MANTISSA_TOTAL,
            None => 0,
        };
        let exponent = exponents.get(symbol.signed_exponent()).copied().unwrap_or(0);
        let weight = u32::from(exponent) * u32::from(mantissa);
        *freq = ((before + weight) / PER_SLOT - before / PER_SLOT) as u16;
        before += weight;
    }
    freqs
}
