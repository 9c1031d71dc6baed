//! The files and links in a directory, as they lie on disk.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::filter::Filter;
use super::left_out::{Folder, LeftOut, Why};
use super::links::{destination, target_of, written};
use super::manifest::{ancestors, is_portable};
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::fs::temporary::{is_temporary, remove_if_left};
use crate::fs::time;
use crate::progress::{self, Progress};

/// The number of links to directories outside of the tree that are followed: a few of them can make
/// more paths than anybody has time for.
const MAX_FOLLOWED: usize = 1000;

/// The files under a directory.
#[derive(Default)]
pub(super) struct Tree {
    /// The files, sorted by path. A file that a link from outside of the tree was followed to is
    /// one too.
    pub(super) files: Vec<TreeFile>,
    /// The links that stay links, sorted by path.
    pub(super) links: Vec<TreeLink>,
    /// All directories, the root too, as an empty path.
    pub(super) directories: HashSet<String>,
    /// The directories that hold nothing, sorted.
    pub(super) empty_directories: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
    /// The paths that could not be taken.
    pub(super) faults: Vec<Fault>,
    /// Whether a part of the tree is a hub cache.
    pub(super) has_hub_cache: bool,
}

pub(super) struct TreeFile {
    /// The path relative to the root, with forward slashes.
    pub(super) path: String,
    pub(super) full: PathBuf,
    pub(super) len: u64,
    pub(super) modified: Option<SystemTime>,
    /// The device and the number of the file on it, and how many names it has.
    pub(super) inode: Option<Inode>,
    /// Whether the patterns take the name. One that they leave out may be that of a link that they
    /// take.
    taken: bool,
}

impl TreeFile {
    /// Returns the file as one at a path of its own, or of a link that leads to it.
    pub(super) fn present_at(&self, path: &str) -> Present {
        Present { path: path.to_owned(), full: self.full.clone(), len: self.len }
    }

    /// Returns the time that tells later whether the file was changed; `None` where it cannot: a
    /// change right after another one may have the same time.
    pub(super) fn noted_time(&self) -> Option<SystemTime> {
        const GRAIN: Duration = Duration::from_secs(2);
        let settled = |time: &SystemTime| time.elapsed().is_ok_and(|age| age > GRAIN);
        self.modified.filter(|&time| time::is_writable(time)).filter(settled)
    }
}

/// A file of a file system, which may have several names.
#[derive(Clone, Copy)]
pub(super) struct Inode {
    pub(super) id: (u64, u64),
    pub(super) names: u64,
}

/// A symbolic link that leads to a place in the tree.
pub(super) struct TreeLink {
    pub(super) path: String,
    /// The target, in the spelling that [`destination`] takes.
    pub(super) target: String,
    /// The path of the file or directory that it leads to in the end; empty for the root. `None`
    /// where there is nothing.
    pub(super) leads_to: Option<String>,
}

/// A file of a repository: its path before packing, and its place now, packed or not.
pub(super) struct Present {
    pub(super) path: String,
    pub(super) full: PathBuf,
    pub(super) len: u64,
}

/// How to walk a directory.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    /// Whether nothing is left out that [`Why`] has a rule for.
    pub(super) all: bool,
    pub(super) filter: &'a Filter,
    /// Whether to follow the link at a path, which leads out of the tree.
    pub(super) follow: &'a dyn Fn(&str) -> bool,
    /// The directory that is written to, which no link may lead into.
    pub(super) target: Option<&'a Path>,
    /// Whether to remove what killed processes of this host left.
    pub(super) tidy: bool,
    pub(super) progress: &'a dyn Progress,
}

impl Tree {
    /// Lists the files and links under `root`. Warns of temporary files and leaves them out.
    ///
    /// A link that leads to a place in the tree stays a link. Any other is followed, since its
    /// target will not be where the tree is going.
    ///
    /// # Errors
    /// Those of `root` itself. Anything else that cannot be taken is a fault.
    pub(super) fn walk(root: &Path, options: Walk<'_>) -> Result<Self> {
        let real_root = fs::canonicalize(root).map_err(Error::io(root))?;
        // A root that is no directory would look like an empty one.
        fs::read_dir(root).map_err(Error::io(root))?;
        let mut walker = Walker {
            options,
            root,
            open: vec![real_root],
            followed: 0,
            target: options.target.and_then(|target| fs::canonicalize(target).ok()),
            empty: BTreeSet::new(),
            tree: Self { directories: HashSet::from([String::new()]), ..Self::default() },
        };
        walker.folder(root, "", None, false)?;
        Ok(walker.finish())
    }

    /// Lists one file, under its own name.
    pub(super) fn of_file(full: &Path) -> Result<Self> {
        let metadata = fs::metadata(full).map_err(Error::io(full))?;
        let path = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (len, modified, inode) = (metadata.len(), metadata.modified().ok(), inode(&metadata));
        if full.is_symlink() {
            let faults = vec![Fault { path, problem: Problem::LeadsOut }];
            return Ok(Self { faults, ..Self::default() });
        }
        let file = TreeFile { path, full: full.into(), len, modified, inode, taken: true };
        Ok(Self { files: vec![file], ..Self::default() })
    }

    /// Whether there is nothing at all, not even what cannot be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.links.is_empty()
            && !self.left_out.iter().any(|left| left.why == Why::Excluded)
            && self.faults.is_empty()
    }

    /// Lists everything under `root`. Of the links that lead out of it, those are followed that
    /// `follow` says; others are faults.
    pub(super) fn walk_all(
        root: &Path,
        follow: &dyn Fn(&str) -> bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let filter = &Filter::default();
        Self::walk(root, Walk { all: true, filter, follow, target: None, tidy: false, progress })
    }

    /// Returns the paths of the files that links lead to.
    pub(super) fn linked(&self) -> HashSet<&str> {
        self.links.iter().filter_map(|link| link.leads_to.as_deref()).collect()
    }
}

struct Walker<'a> {
    options: Walk<'a>,
    root: &'a Path,
    /// The real paths of the root, and of the directories that are being walked by way of links.
    open: Vec<PathBuf>,
    followed: usize,
    /// The real path of the directory that is written to.
    target: Option<PathBuf>,
    empty: BTreeSet<String>,
    tree: Tree,
}

impl Walker<'_> {
    /// Walks the directory at `full`, which has `path` in the tree.
    fn folder(
        &mut self,
        full: &Path,
        path: &str,
        name: Option<&OsStr>,
        beside_snapshots: bool,
    ) -> Result<()> {
        progress::check(self.options.progress)?;
        let names = fs::read_dir(full).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) => return self.fault(path, Problem::Unreadable(error)),
        };
        if names.is_empty() && !path.is_empty() {
            self.empty.insert(path.to_owned());
        }
        names.sort();
        let folder = Folder {
            name,
            names: names.iter().map(OsString::as_os_str).collect(),
            beside_snapshots,
        };
        let has_snapshots = folder.is_cached_repository();
        self.tree.has_hub_cache |= has_snapshots;
        for name in &names {
            self.entry(&folder, full.join(name), path, name, has_snapshots)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        folder: &Folder<'_>,
        full: PathBuf,
        parent: &str,
        name: &OsStr,
        beside_snapshots: bool,
    ) -> Result<()> {
        let joined = |name: &str| match parent {
            "" => name.to_owned(),
            parent => format!("{parent}/{name}"),
        };
        let Some(text) = name.to_str() else {
            let problem = Problem::BadName("its name is not valid UTF-8");
            return self.fault(&joined(&name.to_string_lossy()), problem);
        };
        let path = joined(text);
        if !is_portable(&path) {
            return self.fault(&path, Problem::BadName("its name holds a backslash"));
        }
        if is_temporary(text) {
            if self.options.tidy && remove_if_left(&full) {
                return Ok(());
            }
            let shown = full.display();
            self.options.progress.warn(&format!(
                "{shown}: is being written, or was left by a process that was killed; it is ignored"
            ));
            return Ok(());
        }
        let why = folder.why(name, &full).filter(|_| !self.options.all);
        if let Some(why) = why.or(self.options.filter.excludes(&path).then_some(Why::Excluded)) {
            self.tree.left_out.push(LeftOut { path, why });
            return Ok(());
        }
        match fs::symlink_metadata(&full) {
            Ok(metadata) if metadata.is_symlink() => self.link(full, path, name, beside_snapshots),
            Ok(metadata) => self.found(full, path, name, &metadata, beside_snapshots),
            Err(error) => self.fault(&path, Problem::Unreadable(error)),
        }
    }

    fn found(
        &mut self,
        full: PathBuf,
        path: String,
        name: &OsStr,
        metadata: &Metadata,
        beside_snapshots: bool,
    ) -> Result<()> {
        if metadata.is_dir() {
            self.tree.directories.insert(path.clone());
            return self.folder(&full, &path, Some(name), beside_snapshots);
        }
        if metadata.is_file() {
            let (len, modified) = (metadata.len(), metadata.modified().ok());
            let (inode, taken) = (inode(metadata), self.options.filter.takes(&path));
            self.tree.files.push(TreeFile { path, full, len, modified, inode, taken });
        } else {
            return self.fault(&path, Problem::Special);
        }
        Ok(())
    }

    fn link(
        &mut self,
        full: PathBuf,
        path: String,
        name: &OsStr,
        beside_snapshots: bool,
    ) -> Result<()> {
        let text = match fs::read_link(&full) {
            Ok(text) => text,
            Err(error) => return self.fault(&path, Problem::Unreadable(error)),
        };
        let target = text.to_str().filter(|target| destination(&path, target).is_some());
        let real = match fs::canonicalize(&full) {
            Ok(real) => real,
            Err(error) => {
                let problem = match error.kind() {
                    io::ErrorKind::NotFound => {
                        Problem::DanglingLink { target: text.to_string_lossy().into() }
                    }
                    _ if is_loop(&error) => Problem::LinkLoop,
                    _ => Problem::Unreadable(error),
                };
                self.fault(&path, problem)?;
                if let Some(target) = target {
                    let target = target.to_owned();
                    self.tree.links.push(TreeLink { path, target, leads_to: None });
                }
                return Ok(());
            }
        };
        if let Ok(inner) = real.strip_prefix(&self.open[0]) {
            let Some(inner) = written(inner) else {
                let problem = Problem::BadName("its target has a name that is not valid UTF-8");
                return self.fault(&path, problem);
            };
            let leads = |target: &str| {
                let place = destination(&path, target).map(|path| self.root.join(path));
                place.and_then(|place| fs::canonicalize(place).ok()).is_some_and(|at| at == real)
            };
            let target = target.filter(|target| leads(target)).map(str::to_owned);
            let target = target.unwrap_or_else(|| target_of(&path, &inner));
            self.tree.links.push(TreeLink { path, target, leads_to: Some(inner) });
            return Ok(());
        }
        if !(self.options.follow)(&path) {
            return self.fault(&path, Problem::LeadsOut);
        }
        let metadata = match fs::metadata(&real) {
            Ok(metadata) => metadata,
            Err(error) => return self.fault(&path, Problem::Unreadable(error)),
        };
        if metadata.is_dir() && self.open.iter().any(|open| open.starts_with(&real)) {
            return self.fault(&path, Problem::LinkLoop);
        }
        let target = self.target.as_ref();
        if target.is_some_and(|target| real.starts_with(target) || target.starts_with(&real)) {
            return self.fault(&path, Problem::LeadsToTarget);
        }
        if !metadata.is_dir() {
            return self.found(full, path, name, &metadata, beside_snapshots);
        }
        self.followed += 1;
        if self.followed > MAX_FOLLOWED {
            return self.fault(&path, Problem::TooManyLinks { followed: MAX_FOLLOWED });
        }
        self.open.push(real);
        let done = self.found(full, path, name, &metadata, beside_snapshots);
        self.open.pop();
        done
    }

    /// Notes a path that could not be taken. The walk goes on.
    fn fault(&mut self, path: &str, problem: Problem) -> Result<()> {
        self.tree.faults.push(Fault { path: path.to_owned(), problem });
        Ok(())
    }

    /// Sorts what was found, and leaves out what no pattern takes, and links to what is left out.
    fn finish(self) -> Tree {
        let Self { mut tree, empty, options, .. } = self;
        // A file is also taken by the name of a link that leads to it, as in a hub cache.
        let links = tree.links.iter().filter(|link| options.filter.takes(&link.path));
        let by_link: HashSet<String> = links.filter_map(|link| link.leads_to.clone()).collect();
        let (files, left): (Vec<_>, Vec<_>) =
            tree.files.into_iter().partition(|f| f.taken || by_link.contains(&f.path));
        let mut left_out: Vec<_> =
            left.into_iter().map(|f| LeftOut { path: f.path, why: Why::Excluded }).collect();
        tree.files = files;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        let files: HashSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
        let paths: HashSet<String> = tree.links.iter().map(|link| link.path.clone()).collect();
        let mut kept = Vec::new();
        for mut link in tree.links.drain(..) {
            let there = |path: &str| files.contains(path) || tree.directories.contains(path);
            let why = match &link.leads_to {
                Some(leads_to) if !there(leads_to) => Some(Why::LinkToLeftOut),
                _ => (!options.filter.takes(&link.path)).then_some(Why::Excluded),
            };
            if let Some(why) = why {
                left_out.push(LeftOut { path: link.path, why });
                continue;
            }
            if let Some(leads_to) = &link.leads_to {
                // One step of several may be left out.
                let step = destination(&link.path, &link.target);
                let by_link = |step: &str| {
                    paths.contains(step) || ancestors(step).any(|folder| paths.contains(folder))
                };
                if !step.is_some_and(|step| there(&step) || by_link(&step)) {
                    link.target = target_of(&link.path, leads_to);
                }
            }
            kept.push(link);
        }
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        tree.links = kept;
        tree.left_out.append(&mut left_out);
        tree.left_out.sort_by(|a, b| a.path.cmp(&b.path));
        tree.empty_directories = empty.into_iter().collect();
        tree
    }
}

/// Whether a link leads to itself.
#[cfg(unix)]
fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_loop(_: &io::Error) -> bool {
    false
}

#[cfg(unix)]
pub(super) fn inode(metadata: &Metadata) -> Option<Inode> {
    use std::os::unix::fs::MetadataExt;
    Some(Inode { id: (metadata.dev(), metadata.ino()), names: metadata.nlink() })
}

/// Other systems tell too late: only of an open file.
#[cfg(not(unix))]
pub(super) fn inode(_: &Metadata) -> Option<Inode> {
    None
}

/// Makes the error for a path that cannot be worked with.
pub(super) fn refused(path: &Path, problem: &str) -> Error {
    Error::io(path)(io::Error::new(io::ErrorKind::InvalidInput, problem))
}
