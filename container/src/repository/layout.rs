//! The layout of a packed repository whose files come from elsewhere than from a directory.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use super::manifest::{FileEntry, Manifest, Packed};
use super::names::stored_name;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::write_atomically;

/// A file of a repository, as it was before packing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// The path, relative, with forward slashes.
    pub path: String,
    /// The length, in bytes.
    pub size: u64,
    /// The SHA-256.
    pub sha256: Digest,
    /// The root of the packed file, where it is packed.
    pub root: Option<Digest>,
}

/// The layout of a packed repository, as [`pack`](super::pack) makes it: the place of each file,
/// and the manifest.
#[derive(Debug)]
pub struct Layout(Manifest);

impl Layout {
    /// Decides where the files lie.
    ///
    /// # Errors
    /// [`Error::Manifest`] for paths that leave the repository, or that two files have.
    pub fn new(originals: Vec<Original>) -> Result<Self> {
        let taken: HashSet<_> = originals.iter().map(|file| file.path.as_str()).collect();
        let entry = |Original { path, size, sha256, root }: &Original| {
            let stored = || stored_name(path, &taken).unwrap_or_else(|| path.clone());
            let packed = root.map(|root| Packed { path: stored(), size: None, root });
            let (path, size, sha256) = (path.clone(), *size, *sha256);
            FileEntry { path, size, sha256, modified: None, hard_link: None, packed }
        };
        let entries = originals.iter().map(entry).collect();
        let manifest = Manifest::new(entries, Vec::new(), Vec::new(), Vec::new(), true);
        manifest.check()?;
        Ok(Self(manifest))
    }

    /// Returns the path of each file before packing, and the one that it has in the repository,
    /// sorted by the first.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.files.iter().map(|file| (file.path.as_str(), file.stored_path()))
    }

    /// Writes the manifest, once all files are there.
    ///
    /// # Errors
    /// As [`write_atomically`].
    pub fn write_manifest(&self, repository: &Path) -> Result<()> {
        let bytes = self.0.to_bytes()?;
        let write = |file: &mut std::fs::File| file.write_all(&bytes).map_err(Error::Write);
        write_atomically(&Manifest::path_in(repository), true, write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original(path: &str, root: bool) -> Original {
        let root = root.then(|| Digest::of(b"root"));
        Original { path: path.into(), size: 1, sha256: Digest::of(b"x"), root }
    }

    #[test]
    fn packed_files_get_names_that_nothing_else_has() {
        let files = ["a.safetensors", "b.SafeTensors", "c.bin", "d.safetensors"];
        let mut files: Vec<_> = files.iter().map(|path| original(path, true)).collect();
        files.extend([original("d.at1w", false), original("e.safetensors", false)]);
        let layout = Layout::new(files).unwrap();
        let stored: Vec<_> = layout.files().map(|(_, stored)| stored).collect();
        let expected = ["a.at1w", "b.at1w", "c.bin", "d.at1w", "d.safetensors", "e.safetensors"];
        assert_eq!(stored, expected);
        for path in ["../a", "at1w-manifest.json"] {
            assert!(Layout::new(vec![original(path, false)]).is_err(), "{path}");
        }
    }
}
