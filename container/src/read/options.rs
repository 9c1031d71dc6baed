//! How a file is opened, and the sizes above which it is refused.

use at1w_codec::Backend;

use crate::digest::Digest;

/// Sizes above which a file is refused rather than believed.
///
/// # Examples
/// ```
/// use at1w_container::Limits;
///
/// let limits = Limits::default().tensor_len(1 << 30);
/// assert_eq!(limits.tensor_len, 1 << 30);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The length of the index with the inflated header, in bytes: at most 112 a tensor, and for
    /// one that has a base up to 65,572 more, most of them its name; and the header as it is
    /// stored. A header can take up to 32 times its length in memory. Default 1 GiB.
    pub index_len: u64,
    /// The length of a tensor that a read allocates memory for, in bytes. A file holds at least a
    /// byte for every 13,444 of them, which bounds what a small hostile file can ask for; of a
    /// tensor that is the same as a base, the file of the base does, which is found before. Default
    /// 64 GiB.
    pub tensor_len: u64,
    /// The length of the original file, in bytes: tensors that share their bytes can make it far
    /// larger than the packed one. Default 4 TiB.
    pub original_len: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { index_len: 1 << 30, tensor_len: 64 << 30, original_len: 4 << 40 }
    }
}

impl Limits {
    /// Sets [`Limits::index_len`].
    #[must_use]
    pub fn index_len(self, index_len: u64) -> Self {
        Self { index_len, ..self }
    }

    /// Sets [`Limits::tensor_len`].
    #[must_use]
    pub fn tensor_len(self, tensor_len: u64) -> Self {
        Self { tensor_len, ..self }
    }

    /// Sets [`Limits::original_len`].
    #[must_use]
    pub fn original_len(self, original_len: u64) -> Self {
        Self { original_len, ..self }
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The sizes above which the file is refused.
    pub limits: Limits,
    /// The back-end of the kernels. `None` is the one that the environment variable `AT1W_SIMD`
    /// names, or the best one.
    pub backend: Option<Backend>,
    /// The root that the file must have.
    pub root: Option<Digest>,
    /// The number of bytes at the end of the file to read first, for a caller who knows how long
    /// index and trailer are. `None` is a guess that is enough for most files.
    pub tail_len: Option<u64>,
    /// The number of bytes of verified chunks to keep, of which slices were read: reading the next
    /// row of a matrix then costs a copy. 0 keeps none. Default 16 MiB.
    pub kept_len: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            backend: None,
            root: None,
            tail_len: None,
            kept_len: 16 << 20,
        }
    }
}

impl OpenOptions {
    /// Returns the defaults: default limits, and any root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the sizes above which the file is refused.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the back-end of the kernels.
    #[must_use]
    pub fn backend(self, backend: impl Into<Option<Backend>>) -> Self {
        Self { backend: backend.into(), ..self }
    }

    /// Sets the root that the file must have.
    #[must_use]
    pub fn root(self, root: impl Into<Option<Digest>>) -> Self {
        Self { root: root.into(), ..self }
    }

    /// Sets the number of bytes at the end of the file to read first.
    #[must_use]
    pub fn tail_len(self, tail_len: impl Into<Option<u64>>) -> Self {
        Self { tail_len: tail_len.into(), ..self }
    }

    /// Sets the number of bytes of verified chunks to keep.
    #[must_use]
    pub fn kept_len(self, kept_len: usize) -> Self {
        Self { kept_len, ..self }
    }
}
