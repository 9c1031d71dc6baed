//! Restoring a packed repository.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::carry::carry;
use super::listed::{
    check_carried, check_link, check_listed, check_size, is_repository, open_listed, total,
    unlisted,
};
use super::manifest::{FileEntry, Manifest};
use super::options::Options;
use super::summary::{PackedFile, Summary};
use super::target::{Staging, check_apart, symlink};
use super::tree::refused;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::read::unpack::{UnpackOptions, unpack_opened};

/// Restores the packed repository `source` into the directory `target`, checking every file.
///
/// A new target appears only when it is complete. With [`Options::overwrite`] the target may exist:
/// restored files take the places of old ones only when all are there, and other files there stay.
///
/// # Errors
/// Those of [`crate::unpack_file`], and [`Error::Manifest`].
pub fn unpack(source: &Path, target: &Path, options: &Options<'_>) -> Result<Summary> {
    check_apart(source, target)?;
    let manifest = Manifest::read(source)?;
    for file in &manifest.files {
        check_listed(source, file)?;
    }
    for link in &manifest.links {
        check_link(source, link)?;
    }
    if is_repository(target) {
        return Err(refused(target, "holds a packed repository, which would be damaged"));
    }
    let strangers = unlisted(source, &manifest, options.progress)?;
    let faults = strangers.faults.into_iter().map(|fault| fault.path);
    for path in strangers.paths.into_iter().chain(faults) {
        let path = source.join(path);
        options
            .progress
            .warn(&format!("{}: is not in the manifest, so it is left out", path.display()));
    }
    options.progress.begin(total(manifest.files.iter().map(|file| file.size)));
    let staging = Staging::new(source, target, options.overwrite)?;
    let by_path: HashMap<&str, &FileEntry> =
        manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut summary = Summary { links: manifest.links.len() as u64, ..Summary::default() };
    // The first name of a file must be there before the others.
    let (others, firsts): (Vec<_>, Vec<_>) =
        manifest.files.iter().partition(|file| file.hard_link.is_some());
    for file in firsts {
        unpack_one(source, file, &staging, options, &mut summary)?;
    }
    for file in others {
        let first = file.hard_link.as_deref().and_then(|first| by_path.get(first));
        let to = staging.path(source, &file.path)?;
        let linked =
            first.is_some_and(|first| fs::hard_link(staging.find(&first.path), &to).is_ok());
        if !linked {
            unpack_one(source, file, &staging, options, &mut summary)?;
        }
    }
    for link in &manifest.links {
        symlink(&link.target, &staging.path(source, &link.path)?)?;
    }
    staging.create_directories(source, &manifest.empty_directories)?;
    staging.finish(source, &[], &[])?;
    Ok(summary)
}

fn unpack_one(
    source: &Path,
    file: &FileEntry,
    staging: &Staging,
    options: &Options<'_>,
    summary: &mut Summary,
) -> Result<()> {
    let from = source.join(file.stored_path());
    let (to, mode) = staging.place(source, &file.path, &from)?;
    let Some(packed) = &file.packed else {
        check_size(&from, file)?;
        let same = |size, digest| check_carried(&from, file, size, digest);
        let (size, _) = carry(&from, (to, mode), file.modified, options.progress, same)?;
        summary.carried += 1;
        summary.count(size, size);
        return Ok(());
    };
    let reader = open_listed(&from, file, packed)?;
    let write = UnpackOptions::new().progress(options.progress);
    let done = unpack_opened(&reader, &from, (&to, mode), file.modified, &write)
        .map_err(|error| error.in_file(&from))?;
    summary.count(done.original_len, done.packed_len);
    let (path, packed_path) = (file.path.clone(), packed.path.clone());
    summary.packed.push(PackedFile { path, packed_path, summary: done });
    Ok(())
}
