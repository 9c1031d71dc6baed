//! The root of a file, and the content digests that it is made of.

use crate::digest::{Digest, Hasher};

/// The prefix of the message that the root is the SHA-256 of.
const ROOT_TAG: &[u8; 16] = b"at1w root v1\n\0\0\0";

/// The prefix of the message that the content digest of a tensor of several chunks is the SHA-256
/// of.
const TENSOR_TAG: &[u8; 16] = b"at1w tensor v1\n\0";

/// Returns the digest that stands for the content of a tensor in the root. For a tensor of one
/// chunk it is the plain SHA-256; otherwise a tagged one over the chunk states and the plain
/// SHA-256.
pub(crate) fn content_digest(states: &[u8], digest: Digest) -> Digest {
    if states.is_empty() {
        return digest;
    }
    let mut hasher = Hasher::tagged(TENSOR_TAG);
    hasher.update(states);
    hasher.update(&digest.0);
    hasher.finish()
}

/// Returns the root, which pins every byte of the original file.
pub(crate) fn root(header: &[u8], content_digests: impl Iterator<Item = Digest>) -> Digest {
    let mut hasher = Hasher::tagged(ROOT_TAG);
    hasher.update(&(header.len() as u64).to_le_bytes());
    hasher.update(header);
    for digest in content_digests {
        hasher.update(&digest.0);
    }
    hasher.finish()
}
