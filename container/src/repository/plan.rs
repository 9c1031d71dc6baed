//! Decides what becomes of each file of a tree, before anything is written.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::carry::digest_of;
use super::manifest::{FileEntry, LinkEntry, Manifest, ancestors};
use super::names::{packed_name, says_other};
use super::options::{Options, Update};
use super::tree::{Tree, TreeFile, refused};
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::format::header::Header;
use crate::kind::Wanted;
use crate::progress;
use crate::recognise::open_file;

/// The work on a tree.
pub(super) struct Plan<'t> {
    /// One step for each file, sorted by path.
    pub(super) steps: Vec<Step<'t>>,
    /// Files of the target that stay as they are, though they are not among the steps.
    pub(super) kept: Vec<FileEntry>,
    /// The same for links.
    pub(super) kept_links: Vec<LinkEntry>,
    /// The number of those whose sources are gone.
    pub(super) gone: u64,
    /// The paths in the target of what is to be removed.
    pub(super) removed: Vec<String>,
    /// Those of them whose sources are gone.
    pub(super) pruned: Vec<String>,
    pub(super) faults: Vec<Fault>,
}

/// The work on one file.
pub(super) struct Step<'t> {
    pub(super) file: &'t TreeFile,
    pub(super) action: Action,
}

impl Step<'_> {
    /// Returns the path in the target.
    pub(super) fn stored_path(&self) -> &str {
        match &self.action {
            Action::Keep(entry) => entry.stored_path(),
            Action::Pack(stored) | Action::Link { stored, .. } => stored,
            Action::Carry => &self.file.path,
        }
    }
}

pub(super) enum Action {
    /// Leave the file of the target as it is. Its entry, with the time of the source as it is now.
    Keep(FileEntry),
    /// Pack the file as this path.
    Pack(String),
    /// Carry it over as it is.
    Carry,
    /// Make it another name of the file of an earlier step.
    Link {
        /// The path in the source of that file.
        first: String,
        /// The path in the target.
        stored: String,
    },
}

/// Plans the work on `tree`, whose target has the manifest `old` and lies in `target`.
pub(super) fn plan<'t>(
    tree: &'t Tree,
    source: &Path,
    target: &Path,
    old: Option<&Manifest>,
    options: &Options<'_>,
) -> Result<Plan<'t>> {
    let taken: HashSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    let linked = tree.linked();
    let old_files: HashMap<&str, &FileEntry> =
        old.iter().flat_map(|old| &old.files).map(|file| (file.path.as_str(), file)).collect();
    let mut first: HashMap<(u64, u64), (&str, bool)> = HashMap::new();
    let mut steps = Vec::with_capacity(tree.files.len());
    for file in &tree.files {
        progress::check(options.progress)?;
        // A file keeps its name where links lead to it, or where its new name is taken.
        let packed_name = packed_name(&file.path)
            .filter(|name| !options.keep_names && !taken.contains(name.as_str()))
            .filter(|_| !linked.contains(file.path.as_str()));
        let stored = packed_name.as_deref().unwrap_or(&file.path);
        let old = old_files.get(file.path.as_str());
        let kept = match old {
            Some(old) => unchanged(file, stored, old, target, options)?,
            None => None,
        };
        let other = file.inode.and_then(|inode| first.get(&inode.id).copied());
        let action = match (kept, other) {
            (Some(entry), _) => Action::Keep(entry),
            (None, Some((first, packed))) => {
                let stored = if packed { stored } else { &file.path };
                Action::Link { first: first.to_owned(), stored: stored.to_owned() }
            }
            (None, None) if holds_weights(file) => Action::Pack(stored.to_owned()),
            (None, None) => Action::Carry,
        };
        if let Some(inode) = file.inode {
            let packed = match &action {
                Action::Keep(entry) => entry.packed.is_some(),
                action => matches!(action, Action::Pack(_)),
            };
            first.entry(inode.id).or_insert((&file.path, packed));
        }
        steps.push(Step { file, action });
    }
    let mut plan = Plan {
        steps,
        kept: Vec::new(),
        kept_links: Vec::new(),
        gone: 0,
        removed: Vec::new(),
        pruned: Vec::new(),
        faults: Vec::new(),
    };
    if let Some(old) = old {
        plan.keep_old(tree, old, source, target, options)?;
    }
    Ok(plan)
}

impl Plan<'_> {
    /// Decides what becomes of files of the target that are not in the tree, or that change their
    /// names.
    fn keep_old(
        &mut self,
        tree: &Tree,
        old: &Manifest,
        source: &Path,
        target: &Path,
        options: &Options<'_>,
    ) -> Result<()> {
        let mut stored: HashMap<String, String> = HashMap::new();
        for step in &self.steps {
            stored.insert(step.file.path.clone(), step.stored_path().to_owned());
        }
        let links = tree.links.iter().map(|link| (link.path.clone(), link.path.clone()));
        stored.extend(links);
        let places: HashSet<&str> = stored.values().map(String::as_str).collect();
        let folders: HashSet<&str> = places.iter().flat_map(|path| ancestors(path)).collect();
        let old_paths = old.files.iter().map(|file| (file.path.as_str(), file.stored_path()));
        let old_links = old.links.iter().map(|link| (link.path.as_str(), link.path.as_str()));
        let mut kept = HashSet::new();
        for (path, place) in old_paths.chain(old_links) {
            progress::check(options.progress)?;
            if let Some(new_place) = stored.get(path) {
                if new_place != place && !places.contains(place) {
                    self.removed.push(place.to_owned());
                }
                continue;
            }
            if places.contains(place) {
                continue;
            }
            // A file that cannot be read now, or is left out, is not gone.
            let gone = is_gone(source, path);
            if folders.contains(place) || gone && options.prune {
                if is_ours(target, place, old)? {
                    self.removed.push(place.to_owned());
                    if gone {
                        self.pruned.push(place.to_owned());
                    }
                } else {
                    let path = target.join(place);
                    options.progress.warn(&format!(
                        "{}: is not what the manifest says, so it is left as it is",
                        path.display()
                    ));
                }
                continue;
            }
            if let Some(file) = ancestors(place).find(|folder| places.contains(folder)) {
                let problem =
                    "holds files whose sources are gone, in the way of a file: prune them";
                return Err(refused(&target.join(file), problem));
            }
            self.gone += u64::from(gone);
            kept.insert(path.to_owned());
        }
        self.kept = old.files.iter().filter(|file| kept.contains(&file.path)).cloned().collect();
        self.kept_links =
            old.links.iter().filter(|link| kept.contains(&link.path)).cloned().collect();
        // The first name of a file may go, and the others stay.
        let remaining: HashSet<&String> = self.kept.iter().map(|file| &file.path).collect();
        let first = |file: &FileEntry| file.hard_link.clone().filter(|p| remaining.contains(p));
        let firsts: Vec<_> = self.kept.iter().map(first).collect();
        self.kept.iter_mut().zip(firsts).for_each(|(file, first)| file.hard_link = first);
        if options.prune {
            let folders = old.empty_directories.iter();
            self.removed.extend(folders.filter(|path| is_gone(source, path)).cloned());
        }
        Ok(())
    }

    /// Takes the files out whose names differ from others in case alone.
    pub(super) fn refuse_case_clashes(&mut self) {
        let mut seen: HashMap<String, String> = HashMap::new();
        let kept = self.kept.iter().map(|file| (file.stored_path(), &file.path));
        for (stored, path) in kept {
            seen.insert(stored.to_lowercase(), path.clone());
        }
        let steps = std::mem::take(&mut self.steps);
        for step in steps {
            let place = step.stored_path().to_lowercase();
            match seen.get(&place) {
                Some(other) => {
                    let problem = Problem::CaseClash { other: other.clone() };
                    self.faults.push(Fault { path: step.file.path.clone(), problem });
                }
                None => {
                    seen.insert(place, step.file.path.clone());
                    self.steps.push(step);
                }
            }
        }
    }
}

/// Returns the entry of a file that has not changed and is in the target; `None` for any other.
fn unchanged(
    file: &TreeFile,
    stored: &str,
    old: &FileEntry,
    target: &Path,
    options: &Options<'_>,
) -> Result<Option<FileEntry>> {
    let expected = if old.packed.is_some() { stored } else { &file.path };
    if options.update == Update::Nothing || file.len != old.size || old.stored_path() != expected {
        return Ok(None);
    }
    let there = fs::symlink_metadata(target.join(expected)).is_ok_and(|metadata| {
        metadata.is_file() && old.stored_len().is_none_or(|len| len == metadata.len())
    });
    if !there {
        return Ok(None);
    }
    // A file without a time was packed by a run that did not note it, or was new then.
    let same = match (options.update, old.modified) {
        (Update::ByTime, Some(modified)) => file.modified == Some(modified),
        _ => match digest_of(&file.full, options.progress) {
            Ok((_, digest)) => digest == old.sha256,
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            // Reading it again for the copy names the problem.
            Err(_) => false,
        },
    };
    Ok(same.then(|| FileEntry { modified: file.noted_time(), ..old.clone() }))
}

/// Whether a file holds weights that are not packed. A name of another format is believed.
pub(super) fn holds_weights(file: &TreeFile) -> bool {
    let read = || open_file(&file.full, Wanted::Safetensors).and_then(|open| Header::read(&open));
    let named = packed_name(&file.path).is_some();
    (named || !says_other(&file.path)) && file.len > 8 && read().is_ok()
}

/// Whether there is nothing at a path of the source any more.
fn is_gone(source: &Path, path: &str) -> bool {
    let missing = |error: std::io::Error| {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        [NotFound, NotADirectory].contains(&error.kind())
    };
    fs::symlink_metadata(source.join(path)).err().is_some_and(missing)
}

/// Whether a file or link of the target is the one that the manifest lists.
fn is_ours(target: &Path, place: &str, old: &Manifest) -> Result<bool> {
    let full = target.join(place);
    if let Some(link) = old.links.iter().find(|link| link.path == place) {
        return Ok(fs::read_link(&full).is_ok_and(|to| to == Path::new(&link.target)));
    }
    let Some(file) = old.files.iter().find(|file| file.stored_path() == place) else {
        return Ok(false);
    };
    match fs::symlink_metadata(&full) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(false),
        // There is nothing to lose.
        Err(_) => return Ok(true),
    }
    match &file.packed {
        Some(packed) => Ok(super::listed::open_listed(&full, file, packed).is_ok()),
        None => Ok(digest_of(&full, &())? == (file.size, file.sha256)),
    }
}
