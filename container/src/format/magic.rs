//! The version of the format, and the bytes that a file begins and ends with.

/// The version of the format that this crate reads and writes.
pub const VERSION: u32 = 1;

/// The first bytes of a file. As the length of a safetensors header they are absurd, so that
/// readers of safetensors refuse the file; the line ends show damage by text conversion.
pub const MAGIC: [u8; 8] = *b"at1w\r\n\x1a\n";

/// The last bytes of a file.
pub(crate) const END_MAGIC: [u8; 8] = *b"\nat1wEND";

/// The media type of packed files.
pub const MEDIA_TYPE: &str = "application/vnd.at1w";
