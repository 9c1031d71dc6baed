//! The manifest of a packed repository: the files of its source, and the digests that pin them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, write_with_mode};
use crate::fs::temporary::is_temporary;

/// The name of the manifest, at the root of a packed repository.
pub(crate) const MANIFEST_NAME: &str = "at1w-manifest.json";

/// The name of a signature over it, beside it.
pub(crate) const SIGNATURE_NAME: &str = "at1w-manifest.json.minisig";

/// The version that this module writes and reads.
const VERSION: u32 = 1;

/// The largest manifest that is read, in bytes: a hundred thousand files need less.
const MAX_LEN: u64 = 100_000_000;

/// The files and directories of the source of a packed repository.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: u32,
    /// Every file of the source, sorted by path.
    pub(crate) files: Vec<FileEntry>,
    /// Directories that hold nothing, sorted; all others follow from the files.
    pub(crate) empty_directories: Vec<String>,
}

/// One file of the source.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// The path in the source, relative, with forward slashes.
    pub(crate) path: String,
    /// The length in the source, in bytes.
    pub(crate) size: u64,
    #[serde(with = "hexadecimal")]
    pub(crate) sha256: Digest,
    /// Set if the file is packed; otherwise it lies under `path` as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<Packed>,
}

/// The packed form of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Packed {
    pub(crate) path: String,
    #[serde(with = "hexadecimal")]
    pub(crate) root: Digest,
}

impl FileEntry {
    /// Returns the path in the packed repository.
    pub(crate) fn stored_path(&self) -> &str {
        self.packed.as_ref().map_or(&self.path, |packed| &packed.path)
    }
}

impl Manifest {
    pub(crate) fn new(files: Vec<FileEntry>, empty_directories: Vec<String>) -> Self {
        let mut manifest = Self { version: VERSION, files, empty_directories };
        manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
        manifest.empty_directories.sort();
        manifest
    }

    /// Returns the path of the manifest of `repository`.
    pub(crate) fn path_in(repository: &Path) -> PathBuf {
        repository.join(MANIFEST_NAME)
    }

    /// Reads and checks the manifest of `repository`.
    pub(crate) fn read(repository: &Path) -> Result<Self> {
        Self::from_bytes(repository, &Self::read_bytes(repository)?)
    }

    /// Reads the manifest of `repository` as it is stored.
    pub(crate) fn read_bytes(repository: &Path) -> Result<Vec<u8>> {
        let path = Self::path_in(repository);
        let mut bytes = Vec::new();
        let read = |bytes: &mut _| File::open(&path)?.take(MAX_LEN + 1).read_to_end(bytes);
        read(&mut bytes).map_err(Error::io(&path))?;
        Ok(bytes)
    }

    /// Parses and checks the manifest of `repository`.
    pub(crate) fn from_bytes(repository: &Path, bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|error| error.in_file(&Self::path_in(repository)))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        /// Parsed first, so that an error names a later version instead of its unknown fields.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }

        if bytes.len() as u64 > MAX_LEN {
            return Err(Error::Manifest(format!("more than {MAX_LEN} bytes")));
        }
        let damaged = |error: serde_json::Error| Error::Manifest(format!("not valid: {error}"));
        let Version { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks that no path leaves the repository, and that no two are the same.
    fn check(&self) -> Result<()> {
        let directories = self.empty_directories.iter().map(String::as_str);
        let paths = self.files.iter().map(|file| file.path.as_str()).chain(directories.clone());
        let stored = self.files.iter().map(FileEntry::stored_path).chain(directories);
        check_paths(paths)?;
        check_paths(stored)?;
        let sorted = self.files.is_sorted_by(|a, b| a.path <= b.path);
        if !sorted || !self.empty_directories.is_sorted() {
            return Err(Error::Manifest("its paths are not sorted".into()));
        }
        Ok(())
    }

    /// Writes the manifest of `repository`, with the permissions of one that was removed before.
    pub(crate) fn write(
        &self,
        repository: &Path,
        overwrite: bool,
        removed: Option<u32>,
    ) -> Result<()> {
        let path = Self::path_in(repository);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Manifest(format!("not writable: {error}")))?;
        json.push(b'\n');
        let write = |file: &mut File| file.write_all(&json).map_err(Error::Write);
        write_with_mode(Mode::of_removed(removed), &path, overwrite, write)
    }
}

fn check_paths<'a>(paths: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for path in paths {
        let reserved =
            [MANIFEST_NAME, SIGNATURE_NAME].contains(&path) || path.split('/').any(is_temporary);
        if !is_portable(path) || reserved {
            return Err(Error::Manifest(format!("{path:?} is not a path within a repository")));
        }
        if !seen.insert(path) {
            return Err(Error::Manifest(format!("{path:?} is listed twice")));
        }
    }
    Ok(())
}

/// Whether `path` names the same file within a directory on every system, and never one outside.
pub(crate) fn is_portable(path: &str) -> bool {
    !path.contains(['\\', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::digest::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(path: &str) -> FileEntry {
        let (path, sha256) = (path.to_owned(), Digest::of(b""));
        FileEntry { path, size: 0, sha256, packed: None }
    }

    fn parse(manifest: &Manifest) -> Result<Manifest> {
        Manifest::parse(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn files_are_sorted_and_come_back() {
        let mut weights = carried("model.safetensors");
        weights.packed = Some(Packed { path: "model.at1w".into(), root: Digest::of(b"root") });
        let manifest = Manifest::new(vec![weights, carried("a/b")], vec!["z".into(), "c".into()]);
        let read = parse(&manifest).unwrap();
        let stored: Vec<_> = read.files.iter().map(FileEntry::stored_path).collect();
        assert_eq!(stored, ["a/b", "model.at1w"]);
        assert_eq!(read.empty_directories, ["c", "z"]);
    }

    #[test]
    fn paths_that_leave_the_repository_are_refused() {
        let reserved = [MANIFEST_NAME, SIGNATURE_NAME, ".a.0123.at1w-tmp", "a/.b.at1w-tmp/c"];
        let outside = ["", "/etc", "../a", "a/../b", "a//b", "a/", "./a", "a\\b"];
        for path in outside.into_iter().chain(reserved) {
            let files = Manifest::new(vec![carried(path)], Vec::new());
            assert!(matches!(parse(&files), Err(Error::Manifest(_))), "{path:?}");
            let directories = Manifest::new(Vec::new(), vec![path.into()]);
            assert!(matches!(parse(&directories), Err(Error::Manifest(_))), "{path:?}");
        }
    }

    #[test]
    fn two_files_of_one_path_are_refused() {
        let twice = Manifest::new(vec![carried("a"), carried("a")], Vec::new());
        assert!(parse(&twice).is_err());
        let mut packed = carried("a.safetensors");
        packed.packed = Some(Packed { path: "a".into(), root: Digest::of(b"") });
        assert!(parse(&Manifest::new(vec![packed, carried("a")], Vec::new())).is_err());
    }

    #[test]
    fn other_versions_and_unknown_fields_are_refused() {
        let version = br#"{"version": 2, "shards": []}"#;
        assert!(matches!(
            Manifest::parse(version),
            Err(Error::Version { found: 2, known: VERSION })
        ));
        let field = br#"{"version": 1, "files": [], "empty_directories": [], "more": 1}"#;
        assert!(matches!(Manifest::parse(field), Err(Error::Manifest(_))));
    }
}
