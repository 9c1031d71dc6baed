//! What is signed of a packed repository: its manifest, or the digests of its originals.

use std::path::Path;

use super::manifest::Manifest;
use crate::digest::Digest;
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

/// Returns the files that a packed repository was made of, and links to them, by path, with the
/// SHA-256 that its manifest has on record.
///
/// # Errors
/// Those of [`signed_manifest`].
pub fn original_digests(repository: &Path) -> Result<Vec<(String, Digest)>> {
    let manifest = Manifest::read(repository)?;
    let files = manifest.files.iter().map(|file| (file.path.clone(), file.sha256));
    let links = manifest.links.iter().filter_map(|link| {
        let end = manifest.end_of(link)?;
        // A link to a folder leads to files that have paths of their own.
        let file = manifest.files.iter().find(|file| file.path == end)?;
        Some((link.path.clone(), file.sha256))
    });
    Ok(files.chain(links).collect())
}
