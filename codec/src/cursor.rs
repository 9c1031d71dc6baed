//! The one place where stored bytes are taken apart: every room of this crate parses with a
//! [`Cursor`], so truncation is one error and no length is believed before it is checked.

use crate::DecodeError;
use crate::varint::MAX_LEN;

/// The bytes that are still to be parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes one byte.
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Takes `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (&taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `len` bytes, and borrows them from the input.
    pub(crate) fn split(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        self.rest.split_off(..len).ok_or(DecodeError::Truncated)
    }

    /// Takes `count` times `N` bytes, and borrows them from the input.
    pub(crate) fn arrays<const N: usize>(
        &mut self,
        count: usize,
    ) -> Result<&'a [[u8; N]], DecodeError> {
        let len = count.checked_mul(N).ok_or(DecodeError::Truncated)?;
        Ok(self.split(len)?.as_chunks().0)
    }

    /// Takes a number in unsigned LEB128, which must be in its shortest form.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (i, &byte) in self.rest.iter().take(MAX_LEN).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if bits << (7 * i) >> (7 * i) != bits || (i > 0 && byte == 0) {
                return Err(DecodeError::Varint);
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        let cut = self.rest.len() < MAX_LEN;
        Err(if cut { DecodeError::Truncated } else { DecodeError::Varint })
    }

    /// Takes a varint that counts bytes or symbols. One that does not fit into memory can't be
    /// backed by the input either.
    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)
    }

    /// Counts the bytes that are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Returns all bytes that are left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Checks that no bytes are left.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::TrailingBytes { extra }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::varint;

    #[test]
    fn varints_round_trip_and_have_one_spelling() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            varint::write(value, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varint(), Ok(value));
            assert_eq!(cursor.end(), Ok(()));
            for cut in 0..bytes.len() {
                assert_eq!(Cursor::new(&bytes[..cut]).varint(), Err(DecodeError::Truncated));
            }
        }
        assert_eq!(Cursor::new(&[0x80, 0]).varint(), Err(DecodeError::Varint));
        assert_eq!(Cursor::new(&[0xff; 11]).varint(), Err(DecodeError::Varint));
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.split(4), Err(DecodeError::Truncated));
        assert_eq!(cursor.arrays::<2>(usize::MAX), Err(DecodeError::Truncated));
        assert_eq!(cursor.arrays(1), Ok(&[[1, 2]][..]));
        assert_eq!(cursor.array::<2>(), Err(DecodeError::Truncated));
        assert_eq!(cursor.end(), Err(DecodeError::TrailingBytes { extra: 1 }));
        assert_eq!(cursor.u8(), Ok(3));
        assert_eq!(cursor.u8(), Err(DecodeError::Truncated));
    }
}
