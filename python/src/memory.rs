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
    /// Calls `empty(dtype, shape)` to make a tensor of `len` bytes. The tensor must be new, dense,
    /// in row-major order, and known to nobody else.
    pub(crate) fn new(
        empty: &Bound<'py, PyAny>,
        dtype: &str,
        shape: &[u64],
        len: u64,
    ) -> PyResult<Self> {
        let tensor = empty.call1((dtype, shape))?;
        let py = tensor.py();
        let nbytes: u64 = tensor.getattr(intern!(py, "nbytes"))?.extract()?;
        if nbytes != len {
            return Err(SafetensorError::new_err(format!(
                "{dtype} of shape {shape:?} has {len} bytes, the framework makes it {nbytes}"
            )));
        }
        // Torch has `data_ptr`, numpy has `ctypes.data`.
        let address = match tensor.call_method0(intern!(py, "data_ptr")) {
            Ok(address) => address,
            Err(_) => tensor.getattr(intern!(py, "ctypes"))?.getattr(intern!(py, "data"))?,
        };
        let fresh = Self { address: address.extract()?, len: nbytes as usize, tensor };
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

/// Tensors whose memory a caller of Python lends to be written to.
pub(crate) struct Lent(Vec<(usize, usize)>);

impl Lent {
    /// Takes the memory of several tensors, no two of which may overlap.
    pub(crate) fn new<'a>(memory: impl Iterator<Item = &'a Promised>) -> PyResult<Self> {
        let lent: Vec<_> = memory.map(|memory| (memory.address, memory.len)).collect();
        let mut sorted = lent.clone();
        sorted.retain(|(_, len)| *len > 0);
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0].0.saturating_add(pair[0].1) > pair[1].0) {
            return Err(SafetensorError::new_err("two of the tensors share memory"));
        }
        Ok(Self(lent))
    }

    /// Returns the memory of each.
    pub(crate) fn bytes(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.0.iter().map(|&(address, len)| match len {
            0 => &mut [][..],
            // SAFETY: the documentation of `update` makes its caller answer for these bytes being
            // there, and for nobody else using them meanwhile. No two of them overlap, and they
            // are lent for as long as `self` is borrowed.
            _ => unsafe { slice::from_raw_parts_mut(address as *mut u8, len) },
        })
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
