//! The files in a directory.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use walkdir::WalkDir;

use super::manifest::is_portable;
use crate::error::{Error, Result};
use crate::fs::temporary::is_temporary;
use crate::progress::{self, Progress};

/// The number of links to directories that are followed by way of other such links.
const MAX_LINKS: usize = 1000;

/// The files under a directory. Symbolic links are followed: hub caches are made of them.
pub(super) struct Tree {
    pub(super) files: Vec<TreeFile>,
    pub(super) empty_directories: Vec<String>,
}

pub(super) struct TreeFile {
    /// The path relative to the root, with forward slashes.
    pub(super) path: String,
    pub(super) full: PathBuf,
    pub(super) len: u64,
}

/// A file of a repository: its path before packing, and its place now, packed or not.
pub(super) struct Present<'a> {
    pub(super) path: &'a str,
    pub(super) full: &'a Path,
    pub(super) len: u64,
}

impl TreeFile {
    pub(super) fn present(&self) -> Present<'_> {
        Present { path: &self.path, full: &self.full, len: self.len }
    }
}

impl Tree {
    /// Lists the files. Warns of temporary files and leaves them out. Of links to directories that
    /// are found by way of others, only [`MAX_LINKS`] are followed: a few of them can make more
    /// paths than anybody has time for.
    pub(super) fn walk(root: &Path, progress: &dyn Progress) -> Result<Self> {
        // A root that is no directory would look like an empty one.
        fs::read_dir(root).map_err(Error::io(root))?;
        let mut files = Vec::new();
        let mut empty_directories = BTreeSet::new();
        let mut links = 0;
        let walk = WalkDir::new(root).follow_links(true).min_depth(1).sort_by_file_name();
        let entries = walk.into_iter().filter_entry(|entry| {
            let left = entry.depth() > 0 && entry.file_name().to_str().is_some_and(is_temporary);
            if left {
                let path = entry.path().display();
                progress.warn(&format!(
                    "{path}: is being written, or was left by a process that was killed; it is \
                     ignored"
                ));
            }
            !left
        });
        for entry in entries {
            progress::check(progress)?;
            let entry = entry.map_err(|error| walk_error(root, error))?;
            let path = relative(root, entry.path())?;
            if let Some((parent, _)) = path.rsplit_once('/') {
                empty_directories.remove(parent);
            }
            let kind = entry.file_type();
            let metadata = entry.metadata().map_err(|error| walk_error(root, error))?;
            if kind.is_dir() && entry.path_is_symlink() && is_linked(root, entry.path()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(refused(entry.path(), "is one link by way of others too many"));
                }
            }
            let full = entry.into_path();
            if kind.is_file() {
                files.push(TreeFile { path, full, len: metadata.len() });
            } else if kind.is_dir() {
                empty_directories.insert(path);
            } else {
                return Err(refused(&full, "is neither a file nor a directory"));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files, empty_directories: empty_directories.into_iter().collect() })
    }
}

/// Whether a directory between `root` and `path` is a symbolic link.
fn is_linked(root: &Path, path: &Path) -> bool {
    path.ancestors().skip(1).take_while(|path| *path != root).any(Path::is_symlink)
}

/// Returns a path as manifests write it.
fn relative(root: &Path, path: &Path) -> Result<String> {
    let inner = path.strip_prefix(root).unwrap_or(path);
    let parts = inner.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let relative = parts
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refused(path, "its name is not valid UTF-8"))?
        .join("/");
    if !is_portable(&relative) {
        return Err(refused(path, "its name is not portable: it holds a backslash"));
    }
    Ok(relative)
}

pub(super) fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_owned();
    if error.loop_ancestor().is_some() {
        return refused(&path, "is a symbolic link to a directory that it lies in");
    }
    match error.into_io_error() {
        Some(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            refused(&path, "is a symbolic link to nothing")
        }
        Some(error) => Error::io(&path)(error),
        None => refused(&path, "is not readable"),
    }
}

/// Makes the error for a path that cannot be worked with.
pub(super) fn refused(path: &Path, problem: &str) -> Error {
    Error::io(path)(io::Error::new(io::ErrorKind::InvalidInput, problem))
}
