//! The manifest of a packed repository: the files of its source, and the digests that pin them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::inside::Inside;
use super::left_out::LeftOut;
use super::links::destination;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::temporary::is_temporary;
use crate::fs::time;

/// The name of the manifest, at the root of a packed repository.
pub(crate) const MANIFEST_NAME: &str = "at1w-manifest.json";

/// The name of a signature over it, beside it.
pub(crate) const SIGNATURE_NAME: &str = "at1w-manifest.json.minisig";

/// The name of the text beside a manifest of version 2 that tells strangers what the files are.
pub(crate) const README_NAME: &str = "at1w-readme.txt";

/// That text.
pub(crate) const README: &str = "\
The files of this directory were packed by at1w. at1w-manifest.json lists all of them, with what
they were before: those with \"packed\" are .safetensors files, smaller than they were, the others lie
here unchanged. Nothing is lost:

  at1w unpack DIRECTORY      restores everything, byte for byte, every SHA-256 checked
  at1w verify DIRECTORY      checks every byte
  at1w ls FILE               lists the tensors of a packed file

In Python, at1w.safe_open reads a packed file as safetensors.safe_open reads its original.
";

/// The note in the manifest itself.
const NOTE: &str = "Packed by at1w: 'at1w unpack DIRECTORY' restores the files as they are listed \
                    here. Those with \"packed\" are .safetensors files; the others lie here unchanged.";

/// The first version. It is written where nothing of the second is needed.
const VERSION_1: u32 = 1;

/// The version with links, times and what was left out.
const VERSION_2: u32 = 2;

/// The largest manifest that is read, in bytes: a hundred thousand files need less.
const MAX_LEN: u64 = 100_000_000;

/// The files and directories of the source of a packed repository.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: u32,
    /// Tells strangers what the files are. Version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Every file of the source, sorted by path.
    pub(crate) files: Vec<FileEntry>,
    /// The symbolic links of the source that lead to a place in it, sorted by path. Version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<LinkEntry>,
    /// Directories that hold nothing, sorted; all others follow from the files.
    pub(crate) empty_directories: Vec<String>,
    /// The files and directories of the source that were left out, sorted. Version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<LeftOut>,
}

/// One file of the source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// The path in the source, relative, with forward slashes.
    pub(crate) path: String,
    /// The length in the source, in bytes.
    pub(crate) size: u64,
    #[serde(with = "hexadecimal")]
    pub(crate) sha256: Digest,
    /// The time of the last change in the source. Version 2.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    pub(crate) modified: Option<SystemTime>,
    /// The path in the source of the first file of which this is another name. Version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hard_link: Option<String>,
    /// Set if the file is packed; otherwise it lies under `path` as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<Packed>,
}

/// The packed form of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Packed {
    pub(crate) path: String,
    /// The length of the packed file, in bytes. Version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(with = "hexadecimal")]
    pub(crate) root: Digest,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkEntry {
    pub(crate) path: String,
    /// The target, relative to the directory of the link: some `..`, and then names.
    pub(crate) target: String,
}

impl FileEntry {
    /// Returns the path in the packed repository.
    pub(crate) fn stored_path(&self) -> &str {
        self.packed.as_ref().map_or(&self.path, |packed| &packed.path)
    }

    /// Returns the length of the file in the packed repository, in bytes, where it is known.
    pub(crate) fn stored_len(&self) -> Option<u64> {
        self.packed.as_ref().map_or(Some(self.size), |packed| packed.size)
    }
}

impl Manifest {
    /// Makes a manifest of the entries in any order. It is of the first version if `timeless` and
    /// if nothing else of the second is needed.
    pub(crate) fn new(
        mut files: Vec<FileEntry>,
        mut links: Vec<LinkEntry>,
        mut empty_directories: Vec<String>,
        mut left_out: Vec<LeftOut>,
        timeless: bool,
    ) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        links.sort_by(|a, b| a.path.cmp(&b.path));
        empty_directories.sort();
        left_out.sort_by(|a, b| a.path.cmp(&b.path));
        let hard_linked = files.iter().any(|file| file.hard_link.is_some());
        if !timeless || hard_linked || !links.is_empty() || !left_out.is_empty() {
            let note = Some(NOTE.to_owned());
            return Self { version: VERSION_2, note, files, links, empty_directories, left_out };
        }
        for file in &mut files {
            file.modified = None;
            file.packed.iter_mut().for_each(|packed| packed.size = None);
        }
        Self { version: VERSION_1, note: None, files, links, empty_directories, left_out }
    }

    /// Whether a text for strangers lies beside the manifest: whether nothing has its name.
    pub(crate) fn has_readme(&self) -> bool {
        let files = self.files.iter().map(FileEntry::stored_path);
        let links = self.links.iter().map(|link| link.path.as_str());
        let mut all = files.chain(links).chain(self.empty_directories.iter().map(String::as_str));
        self.has_times() && !all.any(|path| path.split('/').next() == Some(README_NAME))
    }

    /// Whether the version is one that has times.
    pub(crate) fn has_times(&self) -> bool {
        self.version == VERSION_2
    }

    /// Returns the path in the source that a link leads to in the end; `None` for a circle.
    pub(crate) fn end_of(&self, link: &LinkEntry) -> Option<String> {
        const MAX_STEPS: usize = 40;
        let mut path = destination(&link.path, &link.target)?;
        for _ in 0..MAX_STEPS {
            let next = self.links.iter().find_map(|link| {
                let rest = path.strip_prefix(link.path.as_str())?;
                let to = destination(&link.path, &link.target)?;
                match rest.strip_prefix('/') {
                    Some(rest) if to.is_empty() => Some(rest.to_owned()),
                    Some(rest) => Some(format!("{to}/{rest}")),
                    None => rest.is_empty().then_some(to),
                }
            });
            match next {
                Some(next) => path = next,
                None => return Some(path),
            }
        }
        None
    }

    /// Whether links, empty directories and the text for strangers are in the target.
    pub(crate) fn is_there(&self, target: &Path) -> bool {
        let inside = Inside::of(target);
        let link = |link: &LinkEntry| {
            let place = inside.place(&link.path);
            place.is_some_and(|at| fs::read_link(at).is_ok_and(|to| to == Path::new(&link.target)))
        };
        self.links.iter().all(link)
            && self.empty_directories.iter().all(|path| target.join(path).is_dir())
            && (!self.has_readme() || target.join(README_NAME).exists())
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
        if ![VERSION_1, VERSION_2].contains(&version) {
            return Err(Error::Version { found: version, known: VERSION_2 });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks that no path and no link leaves the repository, and that no two are the same.
    pub(super) fn check(&self) -> Result<()> {
        let links: HashSet<&str> = self.links.iter().map(|link| link.path.as_str()).collect();
        let directories = self.empty_directories.iter().map(String::as_str);
        let others = directories.chain(links.iter().copied());
        let paths = self.files.iter().map(|file| file.path.as_str()).chain(others.clone());
        let stored = self.files.iter().map(FileEntry::stored_path).chain(others);
        check_paths(paths, &links)?;
        check_paths(stored, &links)?;
        for LinkEntry { path, target } in &self.links {
            if destination(path, target).is_none() {
                let problem = format!("link {path:?} leads out of the repository, to {target:?}");
                return Err(Error::Manifest(problem));
            }
        }
        let by_path: HashMap<&str, &FileEntry> =
            self.files.iter().map(|file| (file.path.as_str(), file)).collect();
        for file in &self.files {
            let Some(first) = &file.hard_link else { continue };
            let same = |first: &FileEntry| {
                first.hard_link.is_none()
                    && first.sha256 == file.sha256
                    && first.packed.is_some() == file.packed.is_some()
            };
            if !by_path.get(first.as_str()).is_some_and(|first| same(first)) {
                let problem = format!("{:?} is no other name of {first:?}", file.path);
                return Err(Error::Manifest(problem));
            }
        }
        let files_sorted = self.files.is_sorted_by(|a, b| a.path <= b.path);
        let links_sorted = self.links.is_sorted_by(|a, b| a.path <= b.path);
        if !files_sorted || !links_sorted || !self.empty_directories.is_sorted() {
            return Err(Error::Manifest("its paths are not sorted".into()));
        }
        if self.version == VERSION_1 && self.needs_version_2() {
            return Err(Error::Manifest("it has fields that version 1 does not have".into()));
        }
        Ok(())
    }

    fn needs_version_2(&self) -> bool {
        let file = |file: &FileEntry| {
            file.modified.is_some()
                || file.hard_link.is_some()
                || file.packed.as_ref().is_some_and(|packed| packed.size.is_some())
        };
        self.note.is_some()
            || !self.links.is_empty()
            || !self.left_out.is_empty()
            || self.files.iter().any(file)
    }

    /// Returns the manifest as it is stored.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Manifest(format!("not writable: {error}")))?;
        json.push(b'\n');
        Ok(json)
    }
}

/// Checks paths of which none may lie beyond a link.
fn check_paths<'a>(paths: impl Iterator<Item = &'a str>, links: &HashSet<&str>) -> Result<()> {
    let paths: Vec<&str> = paths.collect();
    let folders: HashSet<&str> = paths.iter().flat_map(|path| ancestors(path)).collect();
    let mut seen = HashSet::new();
    for path in paths {
        let reserved =
            [MANIFEST_NAME, SIGNATURE_NAME].contains(&path) || path.split('/').any(is_temporary);
        if !is_portable(path) || reserved {
            return Err(Error::Manifest(format!("{path:?} is not a path within a repository")));
        }
        if ancestors(path).any(|folder| links.contains(folder)) {
            return Err(Error::Manifest(format!("{path:?} lies beyond a link")));
        }
        if folders.contains(path) {
            let problem = format!("{path:?} is listed, and so is a path within it");
            return Err(Error::Manifest(problem));
        }
        if !seen.insert(path) {
            return Err(Error::Manifest(format!("{path:?} is listed twice")));
        }
    }
    Ok(())
}

/// Returns the directories that a path lies in, but for the root.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
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
    use std::time::Duration;

    use super::*;

    fn carried(path: &str) -> FileEntry {
        let (path, sha256) = (path.to_owned(), Digest::of(b""));
        FileEntry { path, size: 0, sha256, modified: None, hard_link: None, packed: None }
    }

    fn packed(path: &str, packed: &str) -> FileEntry {
        let packed = Packed { path: packed.into(), size: None, root: Digest::of(b"root") };
        FileEntry { packed: Some(packed), ..carried(path) }
    }

    fn link(path: &str, target: &str) -> LinkEntry {
        LinkEntry { path: path.into(), target: target.into() }
    }

    fn of(files: Vec<FileEntry>, directories: Vec<String>) -> Manifest {
        Manifest::new(files, Vec::new(), directories, Vec::new(), true)
    }

    fn parse(manifest: &Manifest) -> Result<Manifest> {
        Manifest::parse(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn files_are_sorted_and_come_back() {
        let weights = packed("model.safetensors", "model.at1w");
        let manifest = of(vec![weights, carried("a/b")], vec!["z".into(), "c".into()]);
        let read = parse(&manifest).unwrap();
        let stored: Vec<_> = read.files.iter().map(FileEntry::stored_path).collect();
        assert_eq!(stored, ["a/b", "model.at1w"]);
        assert_eq!(read.empty_directories, ["c", "z"]);
        assert_eq!(read.version, VERSION_1);
    }

    #[test]
    fn paths_that_leave_the_repository_are_refused() {
        let reserved = [MANIFEST_NAME, SIGNATURE_NAME, ".a.0123.at1w-tmp", "a/.b.at1w-tmp/c"];
        let outside = ["", "/etc", "../a", "a/../b", "a//b", "a/", "./a", "a\\b"];
        for path in outside.into_iter().chain(reserved) {
            for manifest in [
                of(vec![carried(path)], Vec::new()),
                of(Vec::new(), vec![path.into()]),
                of(vec![packed("a", path)], Vec::new()),
                Manifest::new(Vec::new(), vec![link(path, "a")], Vec::new(), Vec::new(), true),
            ] {
                assert!(matches!(parse(&manifest), Err(Error::Manifest(_))), "{path:?}");
            }
        }
    }

    #[test]
    fn links_that_may_leave_the_repository_are_refused() {
        let manifest = |files: &[&str], links: &[(&str, &str)]| {
            let files = files.iter().map(|path| carried(path)).collect();
            let links = links.iter().map(|(path, target)| link(path, target)).collect();
            parse(&Manifest::new(files, links, Vec::new(), Vec::new(), true))
        };
        let good = manifest(&["blobs/a"], &[("snapshots/x/model", "../../blobs/a"), ("up", ".")]);
        assert_eq!(good.unwrap().version, VERSION_2);
        for target in ["/etc", "..", "../..", "x/../../y", "", "a/"] {
            assert!(manifest(&[], &[("a", target)]).is_err(), "{target:?}");
        }
        // Where a link leads decides where a path beyond it lies.
        assert!(manifest(&["a/b"], &[("a", "c")]).is_err());
        assert!(manifest(&[], &[("a", "c"), ("a/b", "d")]).is_err());
        assert!(manifest(&["a"], &[("a", "c")]).is_err());
    }

    #[test]
    fn two_files_of_one_path_are_refused() {
        assert!(parse(&of(vec![carried("a"), carried("a")], Vec::new())).is_err());
        let both = vec![packed("a.safetensors", "a"), carried("a")];
        assert!(parse(&of(both, Vec::new())).is_err());
    }

    #[test]
    fn other_names_of_a_file_must_be_its_names() {
        let named =
            |path: &str, first: &str| FileEntry { hard_link: Some(first.into()), ..carried(path) };
        let parsed = |files| parse(&of(files, Vec::new()));
        assert!(parsed(vec![carried("a"), named("b", "a")]).is_ok());
        assert!(parsed(vec![carried("a"), named("b", "c")]).is_err());
        assert!(parsed(vec![carried("a"), named("b", "a"), named("c", "b")]).is_err());
        let other = FileEntry { sha256: Digest::of(b"other"), ..carried("a") };
        assert!(parsed(vec![other, named("b", "a")]).is_err());
    }

    #[test]
    fn times_and_sizes_come_back_in_version_2() {
        let mut weights = packed("model.safetensors", "model.at1w");
        weights.modified = Some(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        weights.packed.as_mut().unwrap().size = Some(7);
        let manifest = Manifest::new(vec![weights.clone()], vec![], vec![], vec![], false);
        let read = parse(&manifest).unwrap();
        assert_eq!((read.version, read.files[0].modified), (VERSION_2, weights.modified));
        assert_eq!(read.files[0].stored_len(), Some(7));
        let manifest = of(vec![weights], Vec::new());
        assert_eq!((manifest.version, manifest.files[0].modified), (VERSION_1, None));
        assert_eq!(manifest.files[0].stored_len(), None);
    }

    #[test]
    fn other_versions_and_unknown_fields_are_refused() {
        let version = br#"{"version": 3, "shards": []}"#;
        assert!(matches!(
            Manifest::parse(version),
            Err(Error::Version { found: 3, known: VERSION_2 })
        ));
        for fields in [
            r#""version": 1, "files": [], "empty_directories": [], "more": 1"#,
            r#""version": 2, "files": [], "empty_directories": [], "more": 1"#,
            r#""version": 1, "files": [], "empty_directories": [], "note": "of version 2""#,
        ] {
            let manifest = Manifest::parse(format!("{{{fields}}}").as_bytes());
            assert!(matches!(manifest, Err(Error::Manifest(_))), "{fields}");
        }
    }
}
