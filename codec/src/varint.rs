//! Writing of unsigned LEB128 in its shortest form. [`Cursor`](crate::cursor::Cursor) reads it.

/// The most bytes that [`write()`] appends.
pub(crate) const MAX_LEN: usize = 10;

/// Appends `value`, seven bits a byte, least significant first.
pub(crate) fn write(value: u64, out: &mut Vec<u8>) {
    let (bytes, len) = encoded(value);
    out.extend_from_slice(&bytes[..len]);
}

/// Returns the bytes of `value`, and how many of them count.
pub(crate) fn encoded(mut value: u64) -> ([u8; MAX_LEN], usize) {
    let mut bytes = [0; MAX_LEN];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}
