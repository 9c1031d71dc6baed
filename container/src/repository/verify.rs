//! Verifying a packed repository against its manifest.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::carry::digest_of;
use super::completeness::inspect;
use super::links::written;
use super::listed::{
    Unlisted, check_carried, check_link, check_listed, check_size, mismatch, open_listed, total,
    unlisted,
};
use super::manifest::{FileEntry, Manifest};
use super::names::LOADED;
use super::shard_index::is_index;
use super::tree::Present;
use crate::digest::Digest;
use crate::error::fault::Fault;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::recognise::is_packed;

/// The outcome of verifying a repository.
#[derive(Debug)]
#[non_exhaustive]
pub struct Check {
    /// The files of the manifest, and others that may be loaded.
    pub files: Vec<FileCheck>,
    /// The files that were missing or were not what they should be when the repository was packed.
    pub faults: Vec<Fault>,
}

/// The outcome of verifying one file of a repository.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileCheck {
    /// The path in the packed repository, relative, with forward slashes.
    pub path: String,
    /// The root of a packed file, `None` for one that is carried over, or the error.
    pub outcome: Result<Option<Digest>>,
}

/// Verifies every file of the packed repository `directory` against its manifest, and with
/// `original` also that the packed ones restore to the original bytes.
///
/// # Errors
/// Those of the manifest itself or of the directory. Errors of files are in the outcomes.
pub fn verify(directory: &Path, original: bool, progress: &dyn Progress) -> Result<Check> {
    verify_manifest(directory, &Manifest::read_bytes(directory)?, original, progress)
}

/// [`verify`] against a manifest that the caller has read and trusts, such as a signed one.
///
/// # Errors
/// As [`verify`].
pub fn verify_manifest(
    directory: &Path,
    manifest: &[u8],
    original: bool,
    progress: &dyn Progress,
) -> Result<Check> {
    let manifest = Manifest::from_bytes(directory, manifest)?;
    progress.begin(total(manifest.files.iter().map(|file| file.size)));
    let mut checks = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let outcome = verify_one(directory, file, original, progress);
        if matches!(outcome, Err(Error::Cancelled)) {
            return Err(Error::Cancelled);
        }
        checks.push(FileCheck { path: file.stored_path().to_owned(), outcome });
    }
    let links = manifest.links.iter().filter_map(|link| {
        let wrong = check_link(directory, link).err()?;
        Some(FileCheck { path: link.path.clone(), outcome: Err(wrong) })
    });
    checks.extend(links);
    // A directory that cannot be walked must not hide the damage that was found.
    match check_unlisted(directory, &manifest, progress, &mut checks) {
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => checks.push(FileCheck { path: String::new(), outcome: Err(error) }),
        Ok(()) => {}
    }
    let faults = inspect(&present(directory, &manifest), &HashSet::new(), progress)?.faults;
    Ok(Check { files: checks, faults })
}

/// Returns the files of the repository by their paths before packing, and those that links lead to
/// by the paths of the links.
fn present(directory: &Path, manifest: &Manifest) -> Vec<Present> {
    let file = |path: &str, file: &FileEntry| {
        let full = directory.join(file.stored_path());
        Present { path: path.to_owned(), full, len: file.size }
    };
    let by_path: HashMap<&str, &FileEntry> =
        manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let real = |path: &Path| fs::canonicalize(path).ok();
    let root = real(directory);
    let links = manifest.links.iter().filter_map(|link| {
        let to = real(&directory.join(&link.path))?;
        let to = written(to.strip_prefix(root.as_ref()?).ok()?)?;
        Some(file(&link.path, by_path.get(to.as_str())?))
    });
    manifest.files.iter().map(|entry| file(&entry.path, entry)).chain(links).collect()
}

fn verify_one(
    directory: &Path,
    file: &FileEntry,
    original: bool,
    progress: &dyn Progress,
) -> Result<Option<Digest>> {
    check_listed(directory, file)?;
    let path = directory.join(file.stored_path());
    let Some(packed) = &file.packed else {
        check_size(&path, file)?;
        let (size, digest) = digest_of(&path, progress)?;
        check_carried(&path, file, size, digest)?;
        return Ok(None);
    };
    let reader = open_listed(&path, file, packed)?;
    let verified =
        if original { reader.verify_original(progress) } else { reader.verify(progress) };
    verified.map_err(|error| error.in_file(&path))?;
    Ok(Some(packed.root))
}

/// Adds an error for each file that may be loaded and is not in the manifest, and warns of others.
fn check_unlisted(
    directory: &Path,
    manifest: &Manifest,
    progress: &dyn Progress,
    checks: &mut Vec<FileCheck>,
) -> Result<()> {
    let Unlisted { paths, faults } = unlisted(directory, manifest, progress)?;
    for fault in faults {
        let outcome = Err(mismatch(&directory.join(&fault.path), &fault.problem.to_string()));
        checks.push(FileCheck { path: fault.path, outcome });
    }
    for path in paths {
        let full = directory.join(&path);
        let name = path.to_lowercase();
        let loaded = LOADED.iter().any(|(suffix, _)| name.ends_with(suffix));
        if loaded || is_index(&name) || is_packed(&full)? {
            let outcome = Err(mismatch(&full, "may be loaded, and is not in the manifest"));
            checks.push(FileCheck { path, outcome });
        } else {
            progress.warn(&format!("{}: is not in the manifest", full.display()));
        }
    }
    Ok(())
}
