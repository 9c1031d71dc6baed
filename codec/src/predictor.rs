//! From the bytes of a base to those that a version of another dtype is expected to have.

use crate::Dtype;

/// The way from a base to the tensor that it predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Predictor {
    /// The base itself, of the same dtype.
    Identity,
    /// The base of [`Dtype::F32`], rounded to [`Dtype::BF16`] or [`Dtype::F16`]: to nearest, ties
    /// to even.
    Rounding,
}

impl Predictor {
    /// Returns the predictor from one dtype to another, if there is one.
    pub fn between(base: Dtype, new: Dtype) -> Option<Self> {
        match (base, new) {
            _ if base == new => Some(Self::Identity),
            (Dtype::F32, Dtype::BF16 | Dtype::F16) => Some(Self::Rounding),
            _ => None,
        }
    }

    /// Returns how many bytes of the base predict this many of the tensor.
    pub fn base_len(self, len: u64) -> u64 {
        match self {
            Self::Identity => len,
            Self::Rounding => len.saturating_mul(2),
        }
    }

    /// Predicts elements of `dtype` from those of the base.
    ///
    /// # Panics
    /// When the base does not have [`Predictor::base_len`] bytes for `out`.
    pub fn predict(self, dtype: Dtype, base: &[u8], out: &mut [u8]) {
        assert_eq!(base.len() as u64, self.base_len(out.len() as u64), "length of the base");
        match (self, dtype) {
            (Self::Identity, _) => out.copy_from_slice(base),
            (Self::Rounding, Dtype::F16) => round(to_f16, base, out),
            (Self::Rounding, _) => round(to_bf16, base, out),
        }
    }
}

#[inline(always)]
fn round(to: impl Fn(u32) -> u16, base: &[u8], out: &mut [u8]) {
    let (base, out) = (base.as_chunks().0, out.as_chunks_mut().0);
    for (base, out) in base.iter().zip(out) {
        *out = to(u32::from_le_bytes(*base)).to_le_bytes();
    }
}

const INFINITY: u32 = 0x7f80_0000;

#[inline(always)]
fn to_bf16(word: u32) -> u16 {
    let top = (word >> 16) as u16;
    match word << 1 > INFINITY << 1 {
        true => top | 0x40,
        false => (word.wrapping_add(0x7fff + u32::from(top & 1)) >> 16) as u16,
    }
}

fn to_f16(word: u32) -> u16 {
    /// The least that is rounded up to infinity.
    const TOO_LARGE: u32 = 0x477f_f000;
    /// The least normal number of 16 bits.
    const NORMAL: u32 = 0x3880_0000;
    let (sign, magnitude) = ((word >> 16) as u16 & 0x8000, word & 0x7fff_ffff);
    if magnitude > INFINITY {
        return sign | 0x7e00 | ((magnitude >> 13) & 0x3ff) as u16;
    }
    if magnitude >= TOO_LARGE {
        return sign | 0x7c00;
    }
    // The mantissa that is cut off by `shift` bits, rounded.
    let cut =
        |value: u32, shift: u32| (value + (1 << (shift - 1)) - 1 + (value >> shift & 1)) >> shift;
    if magnitude >= NORMAL {
        return sign | cut(magnitude - (112 << 23), 13) as u16;
    }
    let exponent = magnitude >> 23;
    match exponent {
        102.. => sign | cut(magnitude & 0x7f_ffff | 0x80_0000, 126 - exponent) as u16,
        _ => sign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rounded_already_stays() {
        for word in 0..=u16::MAX {
            let quiet = if word << 1 > 0xff00 { word | 0x40 } else { word };
            assert_eq!(to_bf16(u32::from(word) << 16), quiet);
        }
    }

    #[test]
    fn roundings_are_to_nearest_even() {
        assert_eq!(to_bf16(0x3f80_8000), 0x3f80);
        assert_eq!(to_bf16(0x3f81_8000), 0x3f82);
        assert_eq!(to_bf16(0x3f80_8001), 0x3f81);
        assert_eq!(to_bf16(0x7f7f_ffff), 0x7f80);
        assert_eq!(to_bf16(0x7f80_0001), 0x7fc0);
        for (float, half) in [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.99, 0x7bff),
            (65520.0, 0x7c00),
            (f32::INFINITY, 0x7c00),
            (6.103_515_6e-5, 0x0400),
            (5.960_464_5e-8, 0x0001),
            (2.980_232_2e-8, 0x0000),
            (2.980_232_6e-8, 0x0001),
            (8.940_697e-8, 0x0002),
            (1.000_488_3, 0x3c00),
            (1.000_488_4, 0x3c01),
            (1.001_464_8, 0x3c02),
        ] {
            assert_eq!(to_f16(f32::to_bits(float)), half, "{float}");
        }
        assert_eq!(to_f16(0x7fc0_0000), 0x7e00);
    }
}
