//! Classes of words, by the exponent of the base.

use crate::DecodeError;
use crate::cursor::Cursor;

/// The most classes that there are.
pub(crate) const MAX_CLASSES: usize = 4;

/// In the byte of classes: in class 0, the base is taken as 0.
const ALONE: u8 = 0x80;

/// Which class each exponent of the base has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    count: usize,
    /// The first exponent of each class but the first, in rising order; the rest is 255.
    firsts: [u8; MAX_CLASSES - 1],
    /// Whether the base is taken as 0 in class 0.
    alone: bool,
}

impl Classes {
    /// Makes classes that begin at these exponents, which rise; the first one begins at 0.
    pub(crate) fn new(starts: &[u8], alone: bool) -> Self {
        let mut firsts = [u8::MAX; MAX_CLASSES - 1];
        firsts[..starts.len() - 1].copy_from_slice(&starts[1..]);
        Self { count: starts.len(), firsts, alone }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether the base is taken as 0 in this class.
    #[inline(always)]
    pub(crate) fn is_alone(&self, class: u8) -> bool {
        self.alone & (class == 0)
    }

    /// Returns the class of an exponent.
    #[inline(always)]
    pub(crate) fn of(&self, exponent: u8) -> u8 {
        let mut class = 0;
        for i in 0..MAX_CLASSES - 1 {
            // Where there are fewer, no exponent is above the rest.
            class += u8::from(exponent >= self.firsts[i]) & u8::from(i + 1 < self.count);
        }
        class
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push((self.count - 1) as u8 | if self.alone { ALONE } else { 0 });
        out.extend_from_slice(&self.firsts[..self.count - 1]);
    }

    /// Reads what [`Classes::write`] wrote. Words that are no floats have one class.
    pub(crate) fn read(float: bool, input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let byte = input.u8()?;
        let (count, alone) = (usize::from(byte & !ALONE) + 1, byte & ALONE != 0);
        if count > MAX_CLASSES || (!float && byte != 0) {
            return Err(DecodeError::Classes);
        }
        let mut firsts = [u8::MAX; MAX_CLASSES - 1];
        let read = input.split(count - 1)?;
        if read.first() == Some(&0) || read.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(DecodeError::Classes);
        }
        firsts[..read.len()].copy_from_slice(read);
        Ok(Self { count, firsts, alone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_round_trip() {
        for starts in [&[0_u8][..], &[0, 1], &[0, 100, 255], &[0, 3, 4, 5]] {
            for alone in [false, true] {
                let classes = Classes::new(starts, alone);
                let mut bytes = Vec::new();
                classes.write(&mut bytes);
                assert_eq!(Classes::read(true, &mut Cursor::new(&bytes)), Ok(classes));
                for exponent in 0..=u8::MAX {
                    let class = starts.iter().filter(|&&first| first <= exponent).count() - 1;
                    assert_eq!(classes.of(exponent), class as u8);
                }
            }
        }
    }

    #[test]
    fn what_is_no_classes_is_refused() {
        for bytes in [&[4_u8, 1, 2, 3, 4][..], &[1, 0], &[2, 5, 5], &[2, 6, 5], &[0x40]] {
            assert_eq!(Classes::read(true, &mut Cursor::new(bytes)), Err(DecodeError::Classes));
        }
        for bytes in [&[1_u8, 1][..], &[0x80]] {
            assert_eq!(Classes::read(false, &mut Cursor::new(bytes)), Err(DecodeError::Classes));
        }
        assert_eq!(Classes::read(true, &mut Cursor::new(&[1])), Err(DecodeError::Truncated));
    }
}
