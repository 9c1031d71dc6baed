//! The safetensors header as it is stored in the index: plain, or deflated where that helps.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::header::MAX_HEADER_LEN;

/// The encoding of a header that is stored as it is.
pub(crate) const PLAIN: u8 = 0;

/// The encoding of a deflated header.
pub(crate) const DEFLATED: u8 = 1;

/// The largest ratio of a header to its deflated form, so that a small file cannot ask for much
/// memory.
const MAX_DEFLATE_RATIO: u64 = 64;

/// Returns the encoding of a header, and the bytes to store.
pub(crate) fn store(header: &[u8]) -> (u8, Vec<u8>) {
    let deflated = compress_to_vec(header, 6);
    if deflated.len() < header.len()
        && header.len() as u64 <= MAX_DEFLATE_RATIO * deflated.len() as u64
    {
        (DEFLATED, deflated)
    } else {
        (PLAIN, header.to_vec())
    }
}

/// Returns a header of `len` bytes from its stored bytes.
pub(crate) fn load(encoding: u8, stored: &[u8], len: u64) -> Result<Vec<u8>, String> {
    if len > MAX_HEADER_LEN {
        return Err(format!("a header of {len} bytes, safetensors allows {MAX_HEADER_LEN}"));
    }
    let header = match encoding {
        PLAIN => stored.to_vec(),
        DEFLATED if len > MAX_DEFLATE_RATIO.saturating_mul(stored.len() as u64) => {
            return Err(format!("a header of {len} bytes deflated to {}", stored.len()));
        }
        DEFLATED => inflate(stored, len as usize)?,
        other => return Err(format!("unknown header encoding {other}")),
    };
    if header.len() as u64 != len {
        return Err(format!("the header has {} bytes, {len} were announced", header.len()));
    }
    Ok(header)
}

/// Inflates all of `stored` to exactly `len` bytes.
fn inflate(stored: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let mut header = vec![0; len];
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    match decompress(&mut state, stored, &mut header, 0, flags) {
        (TINFLStatus::Done, read, written) if (read, written) == (stored.len(), len) => Ok(header),
        (status, read, written) => Err(format!(
            "the header does not inflate: {read} of {} bytes gave {written} of {len} ({status:?})",
            stored.len()
        )),
    }
}
