//! The facts that a file states about itself.

use crate::digest::Digest;

/// The facts that a file states about itself. Lengths are in bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileInfo {
    /// The version of the format.
    pub version: u32,
    /// The features that a reader must know, a bit each.
    pub required_features: u64,
    /// The features that a reader may ignore, a bit each.
    pub optional_features: u64,
    /// The length of the `.at1w` file.
    pub packed_len: u64,
    /// The length of the safetensors file.
    pub original_len: u64,
    /// The SHA-256 of the safetensors file.
    pub original_digest: Digest,
    /// The root, which pins all content.
    pub root: Digest,
    /// The length of the JSON header of the safetensors file.
    pub header_len: u64,
    /// The length of that header as it is stored.
    pub header_stored_len: u64,
    /// The length of tensor records and content digests.
    pub index_len: u64,
    /// The length of the chunk tables of all tensors: payload lengths and chunk states.
    pub chunk_tables_len: u64,
    /// The length of the models of all tensors.
    pub models_len: u64,
}
