//! The directory that a repository is written to.

use std::path::{Path, PathBuf};
use std::{fs, io};

use walkdir::WalkDir;

use super::tree::{refused, walk_error};
use crate::error::{Error, Result};
use crate::fs::atomic::{check_folder, mode_like, sync_folder};
use crate::fs::temporary::{Kind, Temporary};

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

/// Has `build` fill a new directory, or one that exists. A new one gets its name when it is
/// complete, and no permissions that `source` does not have.
pub(super) fn in_target<T>(
    source: &Path,
    target: &Path,
    overwrite: bool,
    build: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    match fs::symlink_metadata(target) {
        Ok(_) if !overwrite => return Err(Error::Exists(target.into())),
        Ok(_) => {
            let done = build(target)?;
            sync_directories(target)?;
            return Ok(done);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(target)(error)),
    }
    let (parent, name) = split(target)?;
    let temporary = Temporary::new(Kind::Directory, parent, target)?;
    // The temporary directory is private. The one within it becomes the target.
    let inner = temporary.path().join(name);
    directory_like(source)?.create(&inner).map_err(Error::io(&inner))?;
    let done = build(&inner)?;
    sync_directories(&inner)?;
    fs::rename(&inner, target).map_err(|error| match target.symlink_metadata() {
        // Another process made it meanwhile.
        Ok(_) => Error::Exists(target.into()),
        Err(_) => Error::io(target)(error),
    })?;
    sync_folder(parent)?;
    Ok(done)
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

/// Makes the names of files survive a power cut. Writing made the files themselves survive.
pub(super) fn sync_directories(root: &Path) -> Result<()> {
    for entry in WalkDir::new(root) {
        let entry = entry.map_err(|error| walk_error(root, error))?;
        if entry.file_type().is_dir() {
            sync_folder(entry.path())?;
        }
    }
    Ok(())
}

/// Returns the place of a file, and makes its directory like the one in `source`.
pub(super) fn place(source: &Path, directory: &Path, path: &str) -> Result<PathBuf> {
    if let Some((parent, _)) = path.rsplit_once('/') {
        create_directory(source, directory, parent)?;
    }
    Ok(directory.join(path))
}

pub(super) fn create_directories(source: &Path, root: &Path, paths: &[String]) -> Result<()> {
    paths.iter().try_for_each(|path| create_directory(source, root, path))
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
                    return Err(refused(&directory, "leads out of the target by a symbolic link"));
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
            let done = in_target(&source, &target, overwrite, |_| {
                fs::create_dir(&target).unwrap();
                fs::write(target.join("file"), "another").map_err(Error::io(&target))
            });
            assert!(matches!(done, Err(Error::Exists(path)) if path == target));
            assert_eq!(fs::read(target.join("file")).unwrap(), b"another");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
            fs::remove_dir_all(&target).unwrap();
        }
    }
}
