//! The probabilities of symbols in one context, as products of two: of sign and exponent, and of the
//! mantissa bits under the exponent.

use at1w_simd::contexts::{SLOT_BITS, SYMBOLS};

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

/// How many of the products of the two frequencies make a slot.
const PER_SLOT: u32 = (EXPONENT_TOTAL as u32 * MANTISSA_TOTAL as u32) >> SLOT_BITS;

pub(super) fn read_exponents(input: &mut &[u8]) -> Result<Exponents, DecodeError> {
    let mut exponents = [0; 31];
    for freq in &mut exponents {
        let read = varint::read(input)?;
        *freq = u16::try_from(read).map_err(|_| DecodeError::Contexts)?;
    }
    // With a slot for the escape everything can be encoded.
    let sum = exponents.iter().map(|&f| u32::from(f)).sum::<u32>();
    match sum == EXPONENT_TOTAL.into() && exponents[EXPONENTS] > 0 {
        true => Ok(exponents),
        false => Err(DecodeError::Contexts),
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
        let last = MANTISSA_TOTAL.checked_sub(sum).ok_or(DecodeError::Contexts)?;
        for (mantissa, &byte) in mantissas.iter_mut().zip(bytes) {
            *mantissa = byte.into();
        }
        mantissas[MANTISSAS - 1] = last;
        if *mantissas == uniform {
            return Err(DecodeError::Contexts);
        }
    }
    Ok(mantissas)
}

/// The slots of all symbols of a context.
///
/// A symbol whose products make no slot has none.
pub(super) fn freqs(exponents: &Exponents, mantissas: &Mantissas) -> [u16; SYMBOLS] {
    let mut freqs = [0; SYMBOLS];
    let mut before = 0;
    for (symbol, freq) in freqs.iter_mut().enumerate() {
        let weight = match (exponents.get(symbol >> 3), symbol >> 3 & 15, symbol & 7) {
            (None, ..) => 0,
            (Some(&e), EXPONENTS, 0) => u32::from(e) * u32::from(MANTISSA_TOTAL),
            (_, EXPONENTS, _) => 0,
            (Some(&e), exponent, m) => u32::from(e) * u32::from(mantissas[exponent][m]),
        };
        *freq = ((before + weight) / PER_SLOT - before / PER_SLOT) as u16;
        before += weight;
    }
    freqs
}
