//! Words and their differences. A float is mapped to an integer that rises with it, so that
//! neighbours differ by little, whatever their exponents are.

/// A word of an element.
pub trait Word: Copy {
    /// The word as it is in memory.
    type Bytes;

    /// Splits memory into words; a part of one at the end is left out.
    fn chunks(bytes: &[u8]) -> &[Self::Bytes];
    /// [`Word::chunks`] to write to.
    fn chunks_mut(bytes: &mut [u8]) -> &mut [Self::Bytes];
    /// Reads a little-endian word.
    fn read(bytes: &Self::Bytes) -> Self;
    /// Writes a little-endian word.
    fn write(self, bytes: &mut Self::Bytes);

    /// Returns the top eight bits below the sign.
    fn exponent(self) -> u8;
    /// Returns how far `self` is from `base`, small where they are near.
    fn less(self, base: Self, float: bool) -> Self;
    /// Undoes [`Word::less`].
    fn plus(self, base: Self, float: bool) -> Self;
    /// Returns the word if `keep` is set, or else 0.
    fn only_if(self, keep: bool) -> Self;
    /// Returns a byte of the word, 0 the least significant.
    fn byte(self, plane: usize) -> u8;
}

macro_rules! words {
    ($($word:ident $signed:ident)*) => {$(
        impl Word for $word {
            type Bytes = [u8; size_of::<$word>()];

            #[inline(always)]
            fn chunks(bytes: &[u8]) -> &[Self::Bytes] {
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn chunks_mut(bytes: &mut [u8]) -> &mut [Self::Bytes] {
                bytes.as_chunks_mut().0
            }

            #[inline(always)]
            fn read(bytes: &Self::Bytes) -> Self {
                Self::from_le_bytes(*bytes)
            }

            #[inline(always)]
            fn write(self, bytes: &mut Self::Bytes) {
                *bytes = self.to_le_bytes();
            }

            #[inline(always)]
            fn exponent(self) -> u8 {
                ((self << 1) >> (Self::BITS - 8)) as u8
            }

            #[inline(always)]
            fn less(self, base: Self, float: bool) -> Self {
                let rising = |word: Self| match float {
                    true => word ^ ((word as $signed >> (Self::BITS - 1)) as Self >> 1),
                    false => word,
                };
                let d = rising(self).wrapping_sub(rising(base));
                (d << 1) ^ (d as $signed >> (Self::BITS - 1)) as Self
            }

            #[inline(always)]
            fn plus(self, base: Self, float: bool) -> Self {
                let rising = |word: Self| match float {
                    true => word ^ ((word as $signed >> (Self::BITS - 1)) as Self >> 1),
                    false => word,
                };
                let d = (self >> 1) ^ (self & 1).wrapping_neg();
                rising(rising(base).wrapping_add(d))
            }

            #[inline(always)]
            fn only_if(self, keep: bool) -> Self {
                self & Self::from(keep).wrapping_neg()
            }

            #[inline(always)]
            fn byte(self, plane: usize) -> u8 {
                (self >> (8 * plane)) as u8
            }
        }
    )*};
}

words! { u8 i8 u16 i16 u32 i32 u64 i64 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_undone() {
        for base in [0, 1, 0x3f80, 0x7fff, 0x8000, 0x8001, 0xbf80, 0xffff_u16] {
            for word in 0..=u16::MAX {
                for float in [true, false] {
                    assert_eq!(word.less(base, float).plus(base, float), word);
                }
                // Without a base, floats are what they are in planes.
                assert_eq!(word.less(0, true), word.rotate_left(1));
            }
        }
    }

    #[test]
    fn neighbours_differ_by_little() {
        let less = |a: f32, b: f32| a.to_bits().less(b.to_bits(), true);
        assert_eq!(less(0.0, 0.0), 0);
        assert_eq!(less(-0.0, 0.0), 1);
        assert_eq!(less(f32::from_bits(1), 0.0), 2);
        assert_eq!(less(1.0_f32.next_up(), 1.0), 2);
        assert_eq!(less((-1.0_f32).next_down(), -1.0), 1);
    }
}
