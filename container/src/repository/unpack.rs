//! Restoring a packed repository.

use std::path::Path;

use super::carry::carry;
use super::listed::{
    check_carried, check_listed, check_size, is_repository, open_listed, total, unlisted,
};
use super::manifest::{FileEntry, Manifest};
use super::options::Options;
use super::summary::{PackedFile, Summary};
use super::target::{check_apart, create_directories, in_target, place};
use super::tree::refused;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::read::unpack::{UnpackOptions, unpack_opened};

/// Restores the packed repository `source` into the directory `target`, checking every file.
/// The target appears as [`pack`](super::pack) makes it appear.
///
/// # Errors
/// Those of [`crate::unpack_file`], and [`Error::Manifest`].
pub fn unpack(source: &Path, target: &Path, options: &Options<'_>) -> Result<Summary> {
    check_apart(source, target)?;
    let manifest = Manifest::read(source)?;
    for file in &manifest.files {
        check_listed(source, file)?;
    }
    if is_repository(target) {
        return Err(refused(target, "holds a packed repository, which would be damaged"));
    }
    for file in unlisted(source, &manifest, options.progress)? {
        let path = file.full.display();
        options.progress.warn(&format!("{path}: is not in the manifest, so it is left out"));
    }
    options.progress.begin(total(manifest.files.iter().map(|file| file.size)));
    in_target(source, target, options.overwrite, |directory| {
        let mut summary = Summary::default();
        for file in &manifest.files {
            unpack_one(source, file, directory, options, &mut summary)?;
        }
        create_directories(source, directory, &manifest.empty_directories)?;
        Ok(summary)
    })
}

fn unpack_one(
    source: &Path,
    file: &FileEntry,
    directory: &Path,
    options: &Options<'_>,
    summary: &mut Summary,
) -> Result<()> {
    let from = source.join(file.stored_path());
    let to = place(source, directory, &file.path)?;
    let Some(packed) = &file.packed else {
        check_size(&from, file)?;
        let (size, _) =
            carry(&from, &to, options, |size, digest| check_carried(&from, file, size, digest))?;
        summary.carry(size);
        return Ok(());
    };
    let reader = open_listed(&from, file, packed)?;
    let write = UnpackOptions::new().overwrite(options.overwrite).progress(options.progress);
    let done = unpack_opened(&reader, &from, &to, &write).map_err(|error| error.in_file(&from))?;
    let (path, packed_path) = (file.path.clone(), packed.path.clone());
    summary.packed.push(PackedFile { path, packed_path, summary: done });
    Ok(())
}
