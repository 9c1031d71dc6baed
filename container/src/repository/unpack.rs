//! Restoring a packed repository.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::carry::{carry, sha256_of};
use super::inside::Inside;
use super::left_out::{LeftOut, Why};
use super::listed::{
    check_carried, check_link, check_listed, check_size, is_repository, open_listed, total,
    unlisted,
};
use super::manifest::{FileEntry, LinkEntry, Manifest};
use super::options::{Options, Update};
use super::summary::{PackedFile, Summary};
use super::target::{Staging, check_apart, symlink};
use super::tree::refused;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::progress::check;
use crate::read::unpack::{UnpackOptions, unpack_opened};

/// Restores the packed repository `source` into the directory `target`, checking every file.
///
/// A new target appears only when it is complete. With [`Options::overwrite`] the target may exist:
/// restored files take the places of old ones only when all are there, and other files there stay.
/// With [`Options::update`] too, and files that are as they would be restored are left.
///
/// Of the other options, [`Options::filter`] and [`Options::progress`] count.
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
    let mut summary = Summary::default();
    let chosen = choose(&manifest, target, options, &mut summary)?;
    let links = links_to_chosen(&manifest, options, &mut summary);
    options.progress.begin(total(chosen.iter().map(|file| file.size)));
    let may_exist = options.overwrite || options.update != Update::Nothing;
    let staging = Staging::new(source, target, may_exist)?;
    summary.links = links.len() as u64;
    // The first name of a file must be there before the others.
    let (others, firsts): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|file| file.hard_link.is_some());
    for file in &firsts {
        unpack_one(source, file, &staging, options, &mut summary)?;
    }
    let restored: HashSet<&str> = firsts.iter().map(|file| file.path.as_str()).collect();
    for file in others {
        let first = file.hard_link.as_deref().filter(|first| restored.contains(first));
        let to = staging.path(source, &file.path)?;
        let linked = first
            .and_then(|first| staging.find(first))
            .is_some_and(|first| fs::hard_link(first, &to).is_ok());
        if !linked {
            unpack_one(source, file, &staging, options, &mut summary)?;
        }
    }
    for link in links {
        symlink(&link.target, &staging.path(source, &link.path)?)?;
    }
    let directories = manifest.empty_directories.iter();
    let directories: Vec<_> =
        directories.filter(|path| options.filter.takes_all_of(path)).cloned().collect();
    staging.create_directories(source, &directories)?;
    staging.finish(source, &[], &[])?;
    Ok(summary)
}

/// Returns the files to restore: those that the patterns take and that are not there already.
fn choose<'m>(
    manifest: &'m Manifest,
    target: &Path,
    options: &Options<'_>,
    summary: &mut Summary,
) -> Result<Vec<&'m FileEntry>> {
    let by_link = led_to(manifest, options);
    let inside = Inside::of(target);
    let mut chosen = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        check(options.progress)?;
        if !options.filter.takes_all_of(&file.path) && !by_link.contains(&file.path) {
            summary.left_out.push(LeftOut { path: file.path.clone(), why: Why::Excluded });
        } else if is_there(inside.place(&file.path), file, options)? {
            summary.unchanged += 1;
            summary.count(file.size, file.stored_len().unwrap_or(file.size));
        } else {
            chosen.push(file);
        }
    }
    Ok(chosen)
}

/// Whether a file is as it would be restored.
fn is_there(place: Option<PathBuf>, file: &FileEntry, options: &Options<'_>) -> Result<bool> {
    let Some(path) = &place.filter(|_| options.update != Update::Nothing) else {
        return Ok(false);
    };
    let metadata = fs::symlink_metadata(path).ok().filter(|found| found.is_file());
    let Some(metadata) = metadata.filter(|found| found.len() == file.size) else {
        return Ok(false);
    };
    match (options.update, file.modified) {
        (Update::ByTime, Some(modified)) => Ok(metadata.modified().ok() == Some(modified)),
        _ => Ok(sha256_of(path, options.progress)? == file.sha256),
    }
}

/// Returns the paths of the files that links lead to which the patterns take, as in a hub cache.
fn led_to(manifest: &Manifest, options: &Options<'_>) -> HashSet<String> {
    let taken = manifest.links.iter().filter(|link| options.filter.takes_all_of(&link.path));
    taken.filter_map(|link| manifest.end_of(link)).collect()
}

/// Returns the links to restore: those that the patterns take.
fn links_to_chosen<'m>(
    manifest: &'m Manifest,
    options: &Options<'_>,
    summary: &mut Summary,
) -> Vec<&'m LinkEntry> {
    let mut links = Vec::with_capacity(manifest.links.len());
    for link in &manifest.links {
        if options.filter.takes_all_of(&link.path) {
            links.push(link);
        } else {
            summary.left_out.push(LeftOut { path: link.path.clone(), why: Why::Excluded });
        }
    }
    links
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
