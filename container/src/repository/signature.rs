//! The message that is signed for a packed repository.

use std::path::Path;

use super::manifest::Manifest;
use crate::error::Result;

/// Returns the message that is signed for a packed repository: the bytes of its manifest, which has
/// the root or the SHA-256 of every file.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io), and [`Error::Manifest`](crate::Error::Manifest) if it is not a
/// manifest: other bytes might be a message of another kind.
pub fn signed_manifest(repository: &Path) -> Result<Vec<u8>> {
    let bytes = Manifest::read_bytes(repository)?;
    Manifest::from_bytes(repository, &bytes)?;
    Ok(bytes)
}
