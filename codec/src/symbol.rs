//! The anatomy of a symbol of contexts, in one place: a byte of sign, exponent and mantissa.

use at1w_simd::prediction;

/// Exponents of the window; one more stands for the escape.
pub(crate) const EXPONENTS: usize = 15;

/// The values of the three bits of mantissa.
pub(crate) const MANTISSAS: usize = 8;

/// The exponent at which the lowest bit of a mantissa counts 1 in predictions.
pub(crate) const VALUE_UNIT: u32 = 3;

/// In a context byte: the sign of the symbol is changed. The other bits are the context.
pub(crate) const FLIP: u8 = 0x80;

/// Returns the context of a context byte.
pub(crate) fn context_of(context_byte: u8) -> u8 {
    context_byte & !FLIP
}

/// A scaled element as it is coded: the sign in bit 7, the exponent in bits 3 to 6, the top of the
/// mantissa in bits 0 to 2. An element outside of the window of exponents is the escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol(u8);

/// The top 16 bits of a scaled element, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    pub(crate) symbol: Symbol,
    /// The bits below the symbol.
    pub(crate) rest: u8,
    /// The bits in the place of the symbol.
    pub(crate) kept: u16,
}

impl Symbol {
    /// The symbol of an element outside of the window.
    pub(crate) const ESCAPE: Self = Self((EXPONENTS as u8) << 3);

    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) const fn byte(self) -> u8 {
        self.0
    }

    /// Takes the top 16 bits of a scaled element apart, `shift` of them below the symbol.
    #[inline]
    pub(crate) fn fold(shift: u8, top: u16) -> Folded {
        let rest = (top & ((1 << shift) - 1)) as u8;
        let magnitude = (top & 0x7fff) >> shift;
        let symbol = match magnitude < u16::from(Self::ESCAPE.0) {
            true => Self((top >> 8) as u8 & FLIP | magnitude as u8),
            false => Self::ESCAPE,
        };
        Folded { symbol, rest, kept: top >> shift }
    }

    pub(crate) fn is_escape(self) -> bool {
        self == Self::ESCAPE
    }

    pub(crate) fn is_negative(self) -> bool {
        self.0 & FLIP != 0
    }

    /// Returns the exponent, 0 to 14; 15 for the escape and for bytes that are no symbol.
    pub(crate) fn exponent(self) -> usize {
        usize::from(self.0 >> 3 & 15)
    }

    /// Returns the top three bits of the mantissa.
    pub(crate) fn mantissa(self) -> usize {
        usize::from(self.0 & 7)
    }

    /// Returns the sign times 16, plus the exponent.
    pub(crate) fn signed_exponent(self) -> usize {
        usize::from(self.0 >> 3)
    }

    /// Returns the symbol with its sign changed where the context byte says so. The escape has
    /// none.
    #[inline]
    pub(crate) fn flipped(self, context_byte: u8) -> Self {
        Self(self.0 ^ context_byte & (u8::from(!self.is_escape()) * FLIP))
    }

    /// Returns the value that predictions reckon with.
    pub(crate) fn value(self) -> i16 {
        prediction::value(VALUE_UNIT, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_top_is_its_parts() {
        for shift in 0..=7 {
            for top in 0..=u16::MAX {
                let Folded { symbol, rest, kept } = Symbol::fold(shift, top);
                assert_eq!(kept << shift | u16::from(rest), top);
                if !symbol.is_escape() {
                    assert_eq!(symbol.is_negative(), top >> 15 == 1);
                    let magnitude = symbol.exponent() << 3 | symbol.mantissa();
                    assert_eq!(magnitude as u16, (top & 0x7fff) >> shift);
                    assert_eq!(symbol.flipped(FLIP).flipped(FLIP), symbol);
                }
                assert_eq!(symbol.flipped(0x7f), symbol);
            }
        }
        assert_eq!(Symbol::ESCAPE.flipped(FLIP), Symbol::ESCAPE);
        assert_eq!(Symbol::ESCAPE.value(), 0);
    }
}
