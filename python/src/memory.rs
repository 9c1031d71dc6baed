//! Memory of frameworks, read and written in place. It holds all `unsafe` code of this crate.

use std::slice;

use pyo3::intern;
use pyo3::prelude::*;

use crate::errors::SafetensorError;

/// A tensor that a framework has just made, with its memory.
pub(crate) struct Fresh<'py> {
    tensor: Bound<'py, PyAny>,
    address: usize,
    len: usize,
}

impl<'py> Fresh<'py> {
    /// Calls `empty(dtype, shape)` to make a tensor of `len` bytes, which returns it with its
    /// address. The tensor must be new, dense, in row-major order, and known to nobody else.
    pub(crate) fn new(
        empty: &Bound<'py, PyAny>,
        dtype: &str,
        shape: &[u64],
        len: u64,
    ) -> PyResult<Self> {
        let (tensor, address): (Bound<'py, PyAny>, _) = empty.call1((dtype, shape))?.extract()?;
        let py = tensor.py();
        let nbytes: u64 = tensor.getattr(intern!(py, "nbytes"))?.extract()?;
        if nbytes != len {
            return Err(SafetensorError::new_err(format!(
                "{dtype} of shape {shape:?} has {len} bytes, the framework makes it {nbytes}"
            )));
        }
        let fresh = Self { address, len: nbytes as usize, tensor };
        advise_huge_pages(fresh.address, fresh.len);
        Ok(fresh)
    }

    /// Returns the memory, which may have any content.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: the framework allocated these bytes for the tensor, which is kept alive by
        // `self`. The tensor is new, so that nothing else reads or writes them before it is
        // handed out, which takes `self`. Allocated outside of Rust, they have some value each.
        unsafe { slice::from_raw_parts_mut(self.address as *mut u8, self.len) }
    }

    /// Returns the tensor.
    pub(crate) fn into_tensor(self) -> Bound<'py, PyAny> {
        self.tensor
    }
}

/// Memory of tensors that are there already, lent to be read into.
pub(crate) struct Lent<'py> {
    /// Keeps the memory.
    _tensor: Bound<'py, PyAny>,
    address: usize,
    len: usize,
}

impl<'py> Lent<'py> {
    /// Takes memory, each piece with the tensor that keeps it, its address and its length. The
    /// error has the places of two pieces that overlap.
    pub(crate) fn all(
        memory: Vec<(Bound<'py, PyAny>, usize, usize)>,
    ) -> Result<Vec<Self>, (usize, usize)> {
        let mut order: Vec<_> = (0..memory.len()).filter(|&i| memory[i].2 > 0).collect();
        order.sort_by_key(|&i| memory[i].1);
        for pair in order.windows(2) {
            let (before, after) = (&memory[pair[0]], &memory[pair[1]]);
            if before.1.saturating_add(before.2) > after.1 {
                return Err((pair[0], pair[1]));
            }
        }
        let lend = |(tensor, address, len)| Self { _tensor: tensor, address, len };
        Ok(memory.into_iter().map(lend).collect())
    }

    /// Returns the memory, whose content is of no matter.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: the modules of this package found a dense, writable tensor of so many bytes at
        // the address. `_tensor` keeps it alive; for `update` its caller does. No two pieces
        // overlap, as `all` has checked. As with every function that fills an array of its caller,
        // the caller answers for no other thread touching the tensor meanwhile.
        unsafe { slice::from_raw_parts_mut(self.address as *mut u8, self.len) }
    }
}

/// Memory at an address that a caller of Python's `TensorSpec` gives.
pub(crate) struct Promised {
    pub(crate) address: usize,
    pub(crate) len: usize,
}

impl Promised {
    pub(crate) fn new(address: usize, len: usize) -> PyResult<Self> {
        if address == 0 && len > 0 {
            let problem = format!("data_ptr is null, and data_len is {len}");
            return Err(SafetensorError::new_err(problem));
        }
        Ok(Self { address, len })
    }

    /// Returns the bytes at the address.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the documentation of TensorSpec, like that of safetensors, makes its caller
        // answer for these bytes being there, unchanged, for as long as it is used.
        unsafe { slice::from_raw_parts(self.address as *const u8, self.len) }
    }
}

/// Asks for pages of 2 MiB. The system provides new memory page by page as it is written. With
/// small pages that costs as much time as decoding, with large ones next to none.
#[cfg(target_os = "linux")]
fn advise_huge_pages(address: usize, len: usize) {
    const HUGE: usize = 2 << 20;
    let end = address.saturating_add(len) / HUGE * HUGE;
    let start = address.checked_next_multiple_of(HUGE).unwrap_or(end);
    if start < end {
        // SAFETY: the range lies within memory that the caller owns. The advice changes no byte,
        // and failing it costs only time.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_address: usize, _len: usize) {}
