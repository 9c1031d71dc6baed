//! The stored bytes of a tensor that lie elsewhere.

use crate::digest::Digest;

/// The lengths of the stored bytes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLen {
    /// The length of payloads, model and chunk table together, in bytes.
    pub stored_len: u64,
    /// The length of the model among them, in bytes.
    pub model_len: u32,
}

/// The stored bytes of a tensor that are not made again.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) len: StoredLen,
}
