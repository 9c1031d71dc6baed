//! Decides what becomes of the files that a target has of earlier runs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::carry::digest_of;
use super::inside::Inside;
use super::left_out::LeftOut;
use super::listed::open_listed;
use super::manifest::{FileEntry, LinkEntry, Manifest, ancestors};
use super::options::Options;
use super::tree::{Tree, refused};
use crate::error::Result;
use crate::error::fault::Fault;
use crate::progress;

/// The files and links of an earlier manifest that are not in the tree any more, or change their
/// places.
#[derive(Default)]
pub(super) struct Settled {
    /// The files that stay, and stay listed.
    pub(super) files: Vec<FileEntry>,
    pub(super) links: Vec<LinkEntry>,
    /// The number of those whose sources are gone.
    pub(super) gone: u64,
    /// The paths in the target of what is to be removed.
    pub(super) removed: Vec<String>,
    /// Those of them whose sources are gone.
    pub(super) pruned: Vec<String>,
}

/// The source as it is now, and what the target will have of it.
pub(super) struct Now<'a> {
    pub(super) source: &'a Path,
    pub(super) target: &'a Path,
    pub(super) tree: &'a Tree,
    pub(super) left_out: &'a [LeftOut],
    pub(super) faults: &'a [Fault],
    /// The files by their paths in the source, with their paths in the target.
    pub(super) files: Vec<(&'a str, &'a str)>,
    /// Whether the target takes names that differ in case alone for the same.
    pub(super) folds_case: bool,
    pub(super) options: &'a Options<'a>,
}

/// Decides about all that the manifest `old` lists.
pub(super) fn settle(old: &Manifest, now: &Now<'_>) -> Result<Settled> {
    let key = |path: &str| if now.folds_case { path.to_lowercase() } else { path.to_owned() };
    let links = now.tree.links.iter().map(|link| (link.path.as_str(), link.path.as_str()));
    let new: Vec<(&str, &str)> = now.files.iter().copied().chain(links).collect();
    let new_paths: HashSet<&str> = new.iter().map(|(path, _)| *path).collect();
    let places: HashSet<String> = new.iter().map(|(_, place)| key(place)).collect();
    let mut folders: HashSet<String> =
        new.iter().flat_map(|(_, place)| ancestors(place)).map(key).collect();
    folders.extend(now.tree.empty_directories.iter().map(|path| key(path)));
    let inside = Inside::of(now.target);
    let gone = Gone::of(now, &new_paths);

    let mut settled = Settled::default();
    let files = old.files.iter().map(Listed::File);
    for listed in files.chain(old.links.iter().map(Listed::Link)) {
        progress::check(now.options.progress)?;
        let (path, place) = listed.paths();
        let taken = places.contains(&key(place));
        if new_paths.contains(path) {
            // It has another place now.
            if !taken {
                settled.remove(&listed, &inside, now)?;
            }
            continue;
        }
        let gone = gone.is(path);
        if taken {
            let full = now.target.join(place);
            let problem = format!("{}: another file takes its place", full.display());
            now.options.progress.warn(&problem);
            continue;
        }
        let replaced = now.tree.directories.contains(path) || folders.contains(&key(place));
        if replaced || gone && now.options.prune {
            if settled.remove(&listed, &inside, now)? && !replaced {
                settled.pruned.push(place.to_owned());
            }
            continue;
        }
        let beneath = ancestors(path).any(|folder| new_paths.contains(folder))
            || ancestors(place).any(|folder| places.contains(&key(folder)));
        if beneath {
            let problem = "its source is gone, and its directory is in the way of a file: prune it";
            return Err(refused(&now.target.join(place), problem));
        }
        settled.gone += u64::from(gone);
        match listed {
            Listed::File(file) => settled.files.push(file.clone()),
            Listed::Link(link) => settled.links.push(link.clone()),
        }
    }
    if now.options.prune {
        let empty = old.empty_directories.iter().filter(|path| gone.is(path));
        let empty = empty.filter(|path| !places.contains(&key(path)) && inside.own(path).is_some());
        settled.removed.extend(empty.cloned());
    }
    Ok(settled)
}

impl Settled {
    /// Has a file or link removed, if it is what the manifest says. Warns if it is not, and returns
    /// whether it is.
    fn remove(&mut self, listed: &Listed<'_>, inside: &Inside, now: &Now<'_>) -> Result<bool> {
        let (_, place) = listed.paths();
        let ours = match listed {
            _ if inside.own(place).is_none() => !inside.is_there(place),
            Listed::File(file) => is_as_listed(inside, file, now.options)?,
            Listed::Link(link) => inside.place(place).is_some_and(|full| {
                fs::read_link(full).is_ok_and(|to| to == Path::new(&link.target))
            }),
        };
        if ours {
            self.removed.push(place.to_owned());
        } else {
            let full = now.target.join(place);
            let problem = "is not what the manifest says, so it is left as it is";
            now.options.progress.warn(&format!("{}: {problem}", full.display()));
        }
        Ok(ours)
    }
}

/// Whether the file of the target is the one that the manifest lists, by its root or its SHA-256.
pub(super) fn is_as_listed(
    inside: &Inside,
    file: &FileEntry,
    options: &Options<'_>,
) -> Result<bool> {
    let Some(full) = inside.place(file.stored_path()) else { return Ok(false) };
    match fs::symlink_metadata(&full) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(false),
        // There is nothing to lose.
        Err(error) => return Ok(error.kind() == io::ErrorKind::NotFound),
    }
    let matches = match &file.packed {
        Some(packed) => open_listed(&full, file, packed).is_ok(),
        None => digest_of(&full, &())? == (file.size, file.sha256),
    };
    progress::check(options.progress)?;
    Ok(matches)
}

/// A file or a link of a manifest.
enum Listed<'a> {
    File(&'a FileEntry),
    Link(&'a LinkEntry),
}

impl Listed<'_> {
    /// Returns the path in the source, and the one in the target.
    fn paths(&self) -> (&str, &str) {
        match self {
            Self::File(file) => (&file.path, file.stored_path()),
            Self::Link(link) => (&link.path, &link.path),
        }
    }
}

/// The paths of the source at which there is nothing any more.
struct Gone<'a> {
    source: &'a Path,
    directories: &'a HashSet<String>,
    files_and_links: &'a HashSet<&'a str>,
    /// The paths that could not be read, or were left out: whatever lies there is not gone.
    unknown: HashSet<&'a str>,
}

impl<'a> Gone<'a> {
    fn of(now: &Now<'a>, files_and_links: &'a HashSet<&'a str>) -> Self {
        let faults = now.faults.iter().map(|fault| fault.path.as_str());
        let unknown = faults.chain(now.left_out.iter().map(|left| left.path.as_str())).collect();
        let directories = &now.tree.directories;
        Self { source: now.source, directories, files_and_links, unknown }
    }

    fn is(&self, path: &str) -> bool {
        if ancestors(path).chain([path]).any(|path| self.unknown.contains(path)) {
            return false;
        }
        // A file or a link is where there was a directory, or the other way round.
        if ancestors(path).any(|folder| self.files_and_links.contains(folder))
            || self.directories.contains(path)
        {
            return true;
        }
        let missing = |error: io::Error| {
            use io::ErrorKind::{NotADirectory, NotFound};
            [NotFound, NotADirectory].contains(&error.kind())
        };
        fs::symlink_metadata(self.source.join(path)).err().is_some_and(missing)
    }
}
