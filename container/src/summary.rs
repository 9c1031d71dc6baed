//! The facts about a file that was packed or unpacked.

use crate::digest::Digest;

/// The facts about a file that was packed or unpacked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The number of tensors.
    pub tensors: u64,
    /// The length of the safetensors file, in bytes.
    pub original_len: u64,
    /// The length of the `.at1w` file, in bytes.
    pub packed_len: u64,
    /// The root.
    pub root: Digest,
    /// The SHA-256 of the safetensors file.
    pub original_digest: Digest,
    /// The number of tensors that have a base in another file.
    pub versions: u64,
}
