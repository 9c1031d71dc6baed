//! The files that a manifest lists, checked against it, and those that it does not list.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::manifest::{
    FileEntry, LinkEntry, MANIFEST_NAME, Manifest, Packed, README_NAME, SIGNATURE_NAME, ancestors,
};
use super::tree::Tree;
use crate::digest::Digest;
use crate::error::fault::Fault;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::read::folders::Folders;
use crate::read::options::OpenOptions;
use crate::read::reader::Reader;

/// Whether `directory` is a packed repository: whether it holds a manifest.
pub fn is_repository(directory: &Path) -> bool {
    Manifest::path_in(directory).is_file()
}

/// Opens a packed file, and checks that it is the one of the manifest.
pub(super) fn open_listed(path: &Path, file: &FileEntry, packed: &Packed) -> Result<Reader> {
    let options = OpenOptions::new().root(packed.root);
    let reader = Reader::open_with(path, &options).map_err(|error| error.in_file(path))?;
    let reader = reader.with_bases(Arc::new(Folders::beside(path)));
    let info = reader.info();
    if (info.original_len, info.original_digest) != (file.size, file.sha256) {
        return Err(mismatch(path, "packs another file than the manifest says"));
    }
    Ok(reader)
}

/// Checks that a file of the manifest is there.
pub(super) fn check_listed(directory: &Path, file: &FileEntry) -> Result<()> {
    let path = directory.join(file.stored_path());
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(mismatch(&path, "is in the manifest, but is no file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(mismatch(&path, "is in the manifest, but missing"))
        }
        Err(error) => Err(Error::io(&path)(error)),
    }
}

/// Checks that a file that was carried over has the size of the manifest, before all of it is read
/// or written for nothing.
pub(super) fn check_size(path: &Path, file: &FileEntry) -> Result<()> {
    let len = fs::metadata(path).map_err(Error::io(path))?.len();
    if len == file.size {
        return Ok(());
    }
    Err(mismatch(path, &format!("has {len} bytes, the manifest says {}", file.size)))
}

/// Checks that a file that was carried over is the one of the manifest.
pub(super) fn check_carried(
    path: &Path,
    file: &FileEntry,
    size: u64,
    digest: Digest,
) -> Result<()> {
    if (size, digest) == (file.size, file.sha256) {
        return Ok(());
    }
    Err(mismatch(
        path,
        &format!(
            "has {size} bytes with SHA-256 {digest}, the manifest says {} with {}",
            file.size, file.sha256
        ),
    ))
}

/// Checks that a link of the manifest is there.
pub(super) fn check_link(directory: &Path, link: &LinkEntry) -> Result<()> {
    let path = directory.join(&link.path);
    let target = match fs::read_link(&path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(mismatch(&path, "is a link in the manifest, but missing"));
        }
        Err(_) => return Err(mismatch(&path, "is a link in the manifest, but none here")),
    };
    if target.components().eq(Path::new(&link.target).components()) {
        return Ok(());
    }
    let problem = format!("is a link to {}, the manifest says {}", target.display(), link.target);
    Err(mismatch(&path, &problem))
}

/// The things in a packed repository that its manifest does not list.
pub(super) struct Unlisted {
    /// Files, and links within the repository.
    pub(super) paths: Vec<String>,
    /// Paths that could not be looked into.
    pub(super) faults: Vec<Fault>,
}

/// Finds what is in `directory` and not in the manifest.
pub(super) fn unlisted(
    directory: &Path,
    manifest: &Manifest,
    progress: &dyn Progress,
) -> Result<Unlisted> {
    let files = manifest.files.iter().map(FileEntry::stored_path);
    let links: HashSet<_> = manifest.links.iter().map(|link| link.path.as_str()).collect();
    let mut listed: HashSet<_> = files.chain(links.iter().copied()).collect();
    listed.extend([MANIFEST_NAME, SIGNATURE_NAME]);
    if manifest.has_readme() {
        listed.insert(README_NAME);
    }
    // Whoever could write here could make a link to anywhere. Where listed files lie is looked.
    let folders: HashSet<_> = listed.iter().flat_map(|path| ancestors(path)).collect();
    let follow = |path: &str| listed.contains(path) || folders.contains(path);
    let Tree { files, links: found, mut faults, .. } =
        Tree::walk_all(directory, &follow, progress)?;
    let paths = files.into_iter().map(|file| file.path).chain(found.into_iter().map(|l| l.path));
    // A link to nothing may be listed.
    faults.retain(|fault| !links.contains(&*fault.path));
    Ok(Unlisted { paths: paths.filter(|path| !listed.contains(&**path)).collect(), faults })
}

/// Adds up sizes for a progress bar. Sizes from a manifest may be anything, so the sum saturates.
pub(super) fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// Makes the error for a file that is not what the manifest says.
pub(super) fn mismatch(path: &Path, problem: &str) -> Error {
    Error::Manifest(problem.into()).in_file(path)
}
