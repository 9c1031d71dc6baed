//! Verifying a packed repository against its manifest.

use std::path::Path;

use super::carry::read_through;
use super::completeness::inspect;
use super::listed::{
    check_carried, check_listed, check_size, mismatch, open_listed, total, unlisted,
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
    // A directory that cannot be walked must not hide the damage that was found.
    match check_unlisted(directory, &manifest, progress, &mut checks) {
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => checks.push(FileCheck { path: String::new(), outcome: Err(error) }),
        Ok(()) => {}
    }
    let stored: Vec<_> =
        manifest.files.iter().map(|file| directory.join(file.stored_path())).collect();
    let present = manifest.files.iter().zip(&stored);
    let present: Vec<_> =
        present.map(|(file, full)| Present { path: &file.path, full, len: file.size }).collect();
    let faults = inspect(&present, progress)?.faults;
    Ok(Check { files: checks, faults })
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
        let (size, digest) = read_through(&path, progress, |_| Ok(()))?;
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
    for file in unlisted(directory, manifest, progress)? {
        let path = file.path.to_lowercase();
        let loaded = LOADED.iter().any(|(suffix, _)| path.ends_with(suffix));
        if loaded || is_index(&path) || is_packed(&file.full)? {
            let outcome = Err(mismatch(&file.full, "may be loaded, and is not in the manifest"));
            checks.push(FileCheck { path: file.path, outcome });
        } else {
            progress.warn(&format!("{}: is not in the manifest", file.full.display()));
        }
    }
    Ok(())
}
