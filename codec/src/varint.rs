//! Unsigned LEB128 in its shortest form.

use crate::DecodeError;

/// The most bytes that [`write`] appends.
pub(crate) const MAX_LEN: usize = 10;

/// Appends `value`, seven bits a byte, least significant first.
pub(crate) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a value and moves `input` past it. Longer than necessary encodings are refused.
pub(crate) fn read(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0;
    for (i, &byte) in input.iter().take(MAX_LEN).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if bits << (7 * i) >> (7 * i) != bits || (i > 0 && byte == 0) {
            return Err(DecodeError::Varint);
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            *input = &input[i + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() < MAX_LEN { DecodeError::Truncated } else { DecodeError::Varint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_other_spellings() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            let mut rest = &bytes[..];
            assert_eq!(read(&mut rest), Ok(value));
            assert!(rest.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(read(&mut &bytes[..cut]), Err(DecodeError::Truncated));
            }
        }
        assert_eq!(read(&mut &[0x80, 0][..]), Err(DecodeError::Varint));
        assert_eq!(read(&mut &[0xff; 11][..]), Err(DecodeError::Varint));
    }
}
