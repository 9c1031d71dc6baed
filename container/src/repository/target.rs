//! The directory that a repository is written to.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::inside::Inside;
use super::links::written;
use super::manifest::{Manifest, ancestors};
use super::tree::refused;
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, check_folder, mode_like, sync_file, sync_folder, write_with_mode};
use crate::fs::temporary::{Claim, Kind, Temporary};
use crate::pool;

/// Checks that neither directory lies within the other.
pub(super) fn check_apart(source: &Path, target: &Path) -> Result<()> {
    let from = fs::canonicalize(source).map_err(Error::io(source))?;
    let to = match fs::canonicalize(target) {
        Ok(to) => to,
        Err(_) => {
            let (parent, name) = split(target)?;
            check_folder(parent)?;
            fs::canonicalize(parent).map_err(Error::io(parent))?.join(name)
        }
    };
    if to.starts_with(&from) || from.starts_with(&to) {
        return Err(refused(target, "source and target must not lie within each other"));
    }
    Ok(())
}

/// Returns the directory that `target` lies in, and its name there.
fn split(target: &Path) -> Result<(&Path, &Path)> {
    match (target.parent(), target.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            Ok((Path::new("."), Path::new(name)))
        }
        (Some(parent), Some(name)) => Ok((parent, Path::new(name))),
        _ => Err(refused(target, "is no name for a new directory")),
    }
}

/// A directory that is filled beside its target, or in it, and then takes its place, or is merged
/// into it. On failure nothing is left, and the target is as it was.
pub(super) struct Staging {
    target: PathBuf,
    /// The new files.
    directory: PathBuf,
    _temporary: Temporary,
    /// Keeps others from writing to a target that exists.
    claim: Option<Claim>,
    /// Whether names that differ in case alone are the same here.
    pub(super) folds_case: bool,
    /// Whether an earlier process ended while it gave files their places.
    pub(super) doubtful: bool,
}

/// The name of a file in a target while new files take the places of old ones.
const MERGING: &str = ".merging.at1w-tmp";

impl Staging {
    /// Makes the directory, with no permissions that `source` does not have.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a target and not `overwrite`, [`Error::Busy`], [`Error::Io`].
    pub(super) fn new(source: &Path, target: &Path, overwrite: bool) -> Result<Self> {
        let (claim, temporary, name) = match fs::symlink_metadata(target) {
            Ok(_) if !overwrite => return Err(Error::Exists(target.into())),
            Ok(_) => {
                let claim = Claim::new(target)?;
                let manifest = Manifest::path_in(target);
                (Some(claim), Temporary::new(Kind::Directory, target, &manifest)?, "new".as_ref())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, name) = split(target)?;
                (None, Temporary::new(Kind::Directory, parent, target)?, name)
            }
            Err(error) => return Err(Error::io(target)(error)),
        };
        // The temporary directory is private. The one within it becomes the target.
        let directory = temporary.path().join(name);
        directory_like(source)?.create(&directory).map_err(Error::io(&directory))?;
        let upper = temporary.path().join("CASE");
        fs::create_dir(temporary.path().join("case")).map_err(Error::io(&upper))?;
        let folds_case = upper.exists();
        let doubtful = claim.is_some() && target.join(MERGING).exists();
        let target = target.into();
        Ok(Self { target, directory, _temporary: temporary, claim, folds_case, doubtful })
    }

    /// Whether the target exists.
    pub(super) fn is_merge(&self) -> bool {
        self.claim.is_some()
    }

    /// Returns the path that a file of the target will have.
    pub(super) fn target(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// Returns the place of a new file, and the rule for its permissions. Makes its directory like
    /// the one in `source`. `like` is the file that it is made of.
    pub(super) fn place(&self, source: &Path, path: &str, like: &Path) -> Result<(PathBuf, Mode)> {
        Ok((self.path(source, path)?, Mode::like(like)?.staged_for(&self.target(path))))
    }

    /// Returns the place of a new file or link. Makes its directory like the one in `source`.
    pub(super) fn path(&self, source: &Path, path: &str) -> Result<PathBuf> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            create_directory(source, &self.directory, parent)?;
        }
        Ok(self.directory.join(path))
    }

    /// Returns the place where a file is now: that of a new one, or else of the target.
    pub(super) fn find(&self, path: &str) -> Option<PathBuf> {
        let new = self.directory.join(path);
        if new.symlink_metadata().is_ok() {
            return Some(new);
        }
        Inside::of(&self.target).place(path)
    }

    /// Makes directories that hold nothing.
    pub(super) fn create_directories(&self, source: &Path, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| create_directory(source, &self.directory, path))
    }

    /// Writes a file that belongs to the repository itself.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mode = Mode::PUBLIC.staged_for(&self.target(name));
        write_with_mode(mode, &self.directory.join(name), false, |file| {
            file.write_all(bytes).map_err(Error::Write)
        })
    }

    /// Gives the files their places. In a target that exists, the new files take the places of old
    /// ones, `removed` are removed, and those named `last` come last, in their order: whoever sees
    /// these sees all others too, even after a power cut.
    ///
    /// What can be checked is checked before the first change. If the work ends in the middle all
    /// the same, the next one finds the target [`doubtful`](Self::doubtful).
    pub(super) fn finish(self, source: &Path, removed: &[String], last: &[&str]) -> Result<()> {
        sync_all(&self.directory)?;
        if !self.is_merge() {
            let (parent, _) = split(&self.target)?;
            fs::rename(&self.directory, &self.target).map_err(|error| {
                match self.target.symlink_metadata() {
                    // Another process made it meanwhile.
                    Ok(_) => Error::Exists(self.target.clone()),
                    Err(_) => Error::io(&self.target)(error),
                }
            })?;
            return sync_folder(parent);
        }
        let new = self.new_files()?;
        let in_the_way = self.check_places(&new, removed)?;
        let marker = self.target.join(MERGING);
        fs::File::create(&marker).map_err(Error::io(&marker))?;
        sync_folder(&self.target)?;
        let mut touched = BTreeSet::from([self.target.clone()]);
        for path in &in_the_way {
            touched.extend(remove(&self.target, path)?);
        }
        for (path, is_directory) in &new {
            if *is_directory {
                create_directory(source, &self.target, path)?;
                touched.insert(self.target.join(path));
            } else if !last.contains(&path.as_str()) {
                let place = self.target.join(path);
                replace(&self.directory.join(path), &place)?;
                touched.extend(place.parent().map(Path::to_owned));
            }
        }
        for path in removed.iter().filter(|path| !in_the_way.contains(path)) {
            touched.extend(remove(&self.target, path)?);
        }
        touched.iter().filter(|folder| folder.exists()).try_for_each(|f| sync_folder(f))?;
        for name in last {
            if self.directory.join(name).exists() {
                replace(&self.directory.join(name), &self.target.join(name))?;
            }
        }
        sync_folder(&self.target)?;
        fs::remove_file(&marker).map_err(Error::io(&marker))?;
        sync_folder(&self.target)
    }

    /// Returns the paths of the new files, links and directories, and whether each is a directory;
    /// a directory goes before what it holds.
    fn new_files(&self) -> Result<Vec<(String, bool)>> {
        let mut new = Vec::new();
        for entry in WalkDir::new(&self.directory).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| walk_error(&self.directory, error))?;
            let inner = entry.path().strip_prefix(&self.directory).unwrap_or(entry.path());
            new.push((written(inner).unwrap_or_default(), entry.file_type().is_dir()));
        }
        Ok(new)
    }

    /// Checks that each new file can take its place, and that none lies outside, before the first
    /// one takes it. Returns those of `removed` that are in the way.
    fn check_places<'r>(
        &self,
        new: &[(String, bool)],
        removed: &'r [String],
    ) -> Result<Vec<&'r String>> {
        let real = |path: &Path| fs::canonicalize(path).map_err(Error::io(path));
        let root = real(&self.target)?;
        let mut in_the_way = HashSet::new();
        for (path, is_directory) in new {
            let place = self.target.join(path);
            let Ok(metadata) = fs::symlink_metadata(&place) else { continue };
            let beneath = |other: &&String| {
                *other == path
                    || other.strip_prefix(path.as_str()).is_some_and(|p| p.starts_with('/'))
            };
            if *is_directory {
                if removed.contains(path) {
                    in_the_way.insert(path.clone());
                } else if !place.is_dir() {
                    return Err(refused(&place, "is in the way of a directory"));
                } else if !real(&place)?.starts_with(&root) {
                    return Err(refused(&place, LEADS_OUT));
                }
            } else if metadata.is_dir() {
                let gone: HashSet<PathBuf> =
                    removed.iter().filter(beneath).map(|path| self.target.join(path)).collect();
                let mut within = WalkDir::new(&place).into_iter().filter_map(Result::ok);
                if within.any(|e| !e.file_type().is_dir() && !gone.contains(e.path())) {
                    let problem = "is a directory that holds files, in the way of a file";
                    return Err(refused(&place, problem));
                }
                in_the_way.extend(removed.iter().filter(beneath).cloned());
            } else if !metadata.is_file() && !metadata.is_symlink() {
                return Err(Error::NotAFile(place));
            }
        }
        Ok(removed.iter().filter(|path| in_the_way.contains(*path)).collect())
    }
}

const LEADS_OUT: &str = "leads out of the target by a symbolic link";

/// Makes a symbolic link.
#[cfg(unix)]
pub(super) fn symlink(target: &str, path: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, path).map_err(Error::io(path))
}

/// A link to a directory is another kind of link here, so the target of this one must be there.
#[cfg(windows)]
pub(super) fn symlink(target: &str, path: &Path) -> Result<()> {
    use std::os::windows::fs::{symlink_dir, symlink_file};
    let leads_to = path.parent().unwrap_or(path).join(target);
    let link = if leads_to.is_dir() { symlink_dir } else { symlink_file };
    link(target.replace('/', "\\"), path).map_err(Error::io(path))
}

/// Renames a new file or link over what has its name.
fn replace(new: &Path, target: &Path) -> Result<()> {
    if fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_dir()) {
        for entry in WalkDir::new(target).contents_first(true) {
            let entry = entry.map_err(|error| walk_error(target, error))?;
            fs::remove_dir(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    fs::rename(new, target).map_err(Error::io(target))
}

/// Removes a file or link of the target, and the directories that hold nothing then. Returns the
/// directories that changed. Nothing that a link leads to outside of the target is touched.
fn remove(target: &Path, path: &str) -> Result<Vec<PathBuf>> {
    let Some(full) = Inside::of(target).own(path) else { return Ok(Vec::new()) };
    match fs::symlink_metadata(&full) {
        Ok(metadata) if metadata.is_dir() => {
            // It held nothing. Whatever is there now is not ours.
            let _ = fs::remove_dir(&full);
        }
        Ok(_) => fs::remove_file(&full).map_err(Error::io(&full))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
        Err(error) => return Err(Error::io(&full)(error)),
    }
    let mut folders: Vec<_> = ancestors(path).map(|folder| target.join(folder)).collect();
    while folders.last().is_some_and(|folder| fs::remove_dir(folder).is_ok()) {
        folders.pop();
    }
    Ok(folders)
}

/// Makes directories with no permissions that `source` does not have, those of the owner aside. The
/// umask takes some away. Private where there is no `source`: a manifest may name a directory that
/// the packed repository does not hold.
fn directory_like(source: &Path) -> Result<fs::DirBuilder> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        let mode = if source.exists() { mode_like(source)? } else { 0 };
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode | 0o700);
    }
    #[cfg(not(unix))]
    let _ = (source, &mut builder);
    Ok(builder)
}

/// Makes files and their names survive a power cut. Many at once, since the disk writes them
/// together.
fn sync_all(root: &Path) -> Result<()> {
    let mut paths = Vec::new();
    for entry in WalkDir::new(root) {
        let entry = entry.map_err(|error| walk_error(root, error))?;
        if !entry.file_type().is_symlink() {
            paths.push(entry);
        }
    }
    pool::run(|| {
        paths.par_iter().try_for_each(|entry| match entry.file_type().is_dir() {
            true => sync_folder(entry.path()),
            false => sync_file(entry.path()),
        })
    })
}

fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_owned();
    match error.into_io_error() {
        Some(error) => Error::io(&path)(error),
        None => refused(&path, "is not readable"),
    }
}

/// Makes a directory within `root`, and the directories that it lies in. Each gets no permissions
/// that the directory of the same path in `source` does not have.
fn create_directory(source: &Path, root: &Path, path: &str) -> Result<()> {
    let real = |path: &Path| fs::canonicalize(path).map_err(Error::io(path));
    let (mut original, mut directory) = (source.to_owned(), root.to_owned());
    for part in path.split('/') {
        original.push(part);
        directory.push(part);
        match directory_like(&original)?.create(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A link in a target that exists may lead out of it, into the source even.
                if !real(&directory)?.starts_with(real(root)?) {
                    return Err(refused(&directory, LEADS_OUT));
                }
                if !directory.is_dir() {
                    return Err(refused(&directory, "is in the way of a directory"));
                }
            }
            Err(error) => return Err(Error::io(&directory)(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        fs::create_dir(&source).unwrap();
        for overwrite in [false, true] {
            let staging = Staging::new(&source, &target, overwrite).unwrap();
            fs::create_dir(&target).unwrap();
            fs::write(target.join("file"), "another").unwrap();
            let done = staging.finish(&source, &[], &[]);
            assert!(matches!(done, Err(Error::Exists(path)) if path == target));
            assert_eq!(fs::read(target.join("file")).unwrap(), b"another");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
            fs::remove_dir_all(&target).unwrap();
        }
    }

    #[test]
    fn one_process_at_a_time_writes_to_a_target() {
        let folder = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        [&source, &target].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let first = Staging::new(&source, &target, true).unwrap();
        let second = Staging::new(&source, &target, true);
        assert!(matches!(second, Err(Error::Busy(path)) if path == target));
        drop(first);
        assert!(Staging::new(&source, &target, true).is_ok());
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }

    #[test]
    fn a_merge_removes_replaces_and_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        fs::create_dir(&source).unwrap();
        fs::create_dir_all(target.join("old/er")).unwrap();
        for path in ["old/er/gone", "kept", "replaced"] {
            fs::write(target.join(path), "old").unwrap();
        }
        let staging = Staging::new(&source, &target, true).unwrap();
        let read = |path: &str| fs::read_to_string(target.join(path)).unwrap();
        for path in ["replaced", "a/new", "last"] {
            fs::write(staging.path(&source, path).unwrap(), "new").unwrap();
        }
        assert_eq!(read("replaced"), "old");
        staging.finish(&source, &["old/er/gone".into()], &["last"]).unwrap();
        assert!(!target.join("old").exists());
        let all = ["kept", "replaced", "a/new", "last"].map(read);
        assert_eq!(all, ["old", "new", "new", "new"]);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 4);
    }

    #[test]
    fn a_directory_that_holds_files_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        fs::create_dir(&source).unwrap();
        fs::create_dir_all(target.join("a")).unwrap();
        fs::write(target.join("a/b"), "old").unwrap();
        let staging = Staging::new(&source, &target, true).unwrap();
        fs::write(staging.path(&source, "a").unwrap(), "new").unwrap();
        assert!(staging.finish(&source, &[], &[]).is_err());
        assert!(target.join("a/b").is_file());
    }
}
