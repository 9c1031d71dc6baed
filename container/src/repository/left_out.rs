//! The files that packing leaves out unless it is told to keep them: the state of tools, which is
//! worth nothing in another place.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file or directory of the source that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LeftOut {
    /// The path in the source, relative, with forward slashes.
    pub path: String,
    /// The reason.
    pub why: Why,
}

/// The reason why a file or directory is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// Locks of a hub cache.
    HubLocks,
    /// An unfinished download of a hub cache.
    HubIncomplete,
    /// The history of a Git clone.
    Git,
    /// The records of a download folder.
    DownloadRecords,
    /// The caller left it out by a pattern.
    Excluded,
    /// A link to what was left out.
    LinkToLeftOut,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HubLocks => "locks of a hub cache",
            Self::HubIncomplete => "an unfinished download of a hub cache",
            Self::Git => "the history of a Git clone",
            Self::DownloadRecords => "the records of a download folder",
            Self::Excluded => "left out by a pattern",
            Self::LinkToLeftOut => "a link to what is left out",
        })
    }
}

/// A directory of the source, as far as the rules ask.
pub(super) struct Folder<'a> {
    /// The name of the directory.
    pub(super) name: Option<&'a OsStr>,
    /// The names in it.
    pub(super) names: HashSet<&'a OsStr>,
    /// Whether the directory that it lies in has `snapshots`, as one of a hub cache has.
    pub(super) beside_snapshots: bool,
}

impl Folder<'_> {
    /// Whether the directory is the part of a hub cache that holds one repository.
    pub(super) fn is_cached_repository(&self) -> bool {
        self.has("snapshots") && self.has("blobs")
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(OsStr::new(name))
    }

    /// Returns why the entry `name`, which lies at `path`, is left out.
    pub(super) fn why(&self, name: &OsStr, path: &Path) -> Option<Why> {
        let text = name.to_str()?;
        let is_blob = self.beside_snapshots && self.name == Some(OsStr::new("blobs"));
        match text {
            ".locks" if self.names.iter().any(|name| is_cached(name)) => Some(Why::HubLocks),
            ".git" if is_git(path) => Some(Why::Git),
            "huggingface" if self.name == Some(OsStr::new(".cache")) && is_records(path) => {
                Some(Why::DownloadRecords)
            }
            _ if is_blob && text.ends_with(".incomplete") => Some(Why::HubIncomplete),
            _ => None,
        }
    }
}

/// Whether a name is that of a repository in a hub cache.
fn is_cached(name: &OsStr) -> bool {
    let starts = ["models--", "datasets--", "spaces--"];
    name.to_str().is_some_and(|name| starts.iter().any(|start| name.starts_with(start)))
}

/// Whether `.git` is what Git makes: a directory, or in a worktree or submodule a file.
fn is_git(path: &Path) -> bool {
    let start = || {
        let mut start = [0; 7];
        File::open(path)?.read_exact(&mut start).map(|()| start)
    };
    path.join("HEAD").is_file() || path.is_file() && start().is_ok_and(|start| &start == b"gitdir:")
}

/// Whether `.cache/huggingface` is that of a download folder. In a home directory it is the cache
/// of all models.
fn is_records(path: &Path) -> bool {
    let has = |name: &str| path.join(name).exists();
    (has("download") || has("upload")) && !has("hub")
}
