//! What a signature over a packed model is made over, so that every signer and checker means the
//! same bytes.

use std::path::Path;

use crate::Result;
use crate::digest::Digest;
use crate::repository::manifest::Manifest;

/// The message that is signed for a file with this root: `at1w root v1`, a space, the root in
/// lowercase hexadecimal, a line feed. The prefix keeps it apart from any other digest that the
/// same key may sign.
pub fn signed_message(root: &Digest) -> String {
    format!("at1w root v1 {root}\n")
}

/// The message that is signed for a packed repository: the bytes of its manifest, which has the
/// root or the SHA-256 of every file.
///
/// # Errors
/// [`crate::Error::Io`], and [`crate::Error::Manifest`] if it is none: anything else might be what is
/// signed for another thing.
pub fn signed_manifest(repository: &Path) -> Result<Vec<u8>> {
    let bytes = Manifest::read_bytes(repository)?;
    Manifest::from_bytes(repository, &bytes)?;
    Ok(bytes)
}
