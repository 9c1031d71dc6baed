//! Memory to read into: its size is checked, and new memory is within the limits.

use super::options::Limits;
use crate::error::{Error, Result};

/// Checks that a buffer has exactly the size of the tensor or slice that is read into it.
pub(crate) fn check_len(out: &[u8], needed: u64) -> Result<()> {
    match out.len() {
        len if len as u64 == needed => Ok(()),
        len => Err(Error::Buffer { len, needed }),
    }
}

/// Makes room for `size` bytes, if they are within the limits and there is enough memory.
pub(crate) fn reserve(limits: &Limits, size: u64, what: impl Fn() -> String) -> Result<Vec<u8>> {
    let limit = limits.tensor_len;
    if size > limit {
        return Err(Error::Limit { what: what(), size, limit });
    }
    let mut out = Vec::new();
    let reserved = usize::try_from(size).ok().map(|len| out.try_reserve_exact(len));
    match reserved {
        Some(Ok(())) => Ok(out),
        _ => Err(Error::Memory { what: what(), size }),
    }
}

/// Returns `size` zeros, as [`reserve`] allows.
pub(crate) fn zeroed(limits: &Limits, size: u64, what: impl Fn() -> String) -> Result<Vec<u8>> {
    let mut out = reserve(limits, size, what)?;
    // The size fits: there is room for as many bytes.
    out.resize(size as usize, 0);
    Ok(out)
}
