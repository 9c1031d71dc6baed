//! Decides what becomes of each file of a tree, before anything is written.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::carry::digest_of;
use super::earlier_runs::is_as_listed;
use super::inside::Inside;
use super::manifest::{FileEntry, Manifest};
use super::names::{packed_name, says_other, stored_name};
use super::options::{Options, Update};
use super::tree::{Tree, TreeFile};
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::format::header::Header;
use crate::kind::Wanted;
use crate::progress;
use crate::recognise::open_file;

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

/// What is known of the target.
pub(super) struct Before<'a> {
    pub(super) target: &'a Path,
    /// Its manifest, if it has one.
    pub(super) manifest: Option<&'a Manifest>,
    /// Whether a run ended in the middle of changing it: then its files may be others than those of
    /// the manifest.
    pub(super) doubtful: bool,
}

/// Plans the work on each file of `tree`, in their order.
pub(super) fn plan<'t>(
    tree: &'t Tree,
    before: &Before<'_>,
    options: &Options<'_>,
) -> Result<Vec<Step<'t>>> {
    let files = tree.files.iter().map(|file| file.path.as_str());
    let links = tree.links.iter().map(|link| link.path.as_str());
    let directories = tree.directories.iter().map(String::as_str);
    let taken: HashSet<&str> = files.chain(links).chain(directories).collect();
    let linked = tree.linked();
    let old_files = before.manifest.iter().flat_map(|old| &old.files);
    let old_files: HashMap<&str, &FileEntry> =
        old_files.map(|file| (file.path.as_str(), file)).collect();
    let inside = Inside::of(before.target);
    let mut first: HashMap<(u64, u64), (&str, bool)> = HashMap::new();
    let mut steps = Vec::with_capacity(tree.files.len());
    for file in &tree.files {
        progress::check(options.progress)?;
        // A file keeps its name where links lead to it, or where its new name is taken.
        let stored_name = stored_name(&file.path, &taken)
            .filter(|_| !options.keep_names && !linked.contains(file.path.as_str()));
        let stored = stored_name.as_deref().unwrap_or(&file.path);
        let kept = match old_files.get(file.path.as_str()) {
            Some(old) => unchanged(file, stored, old, &inside, before.doubtful, options)?,
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
    Ok(steps)
}

/// Takes the files out whose names differ from others in case alone, and returns them as faults.
pub(super) fn take_case_clashes(steps: &mut Vec<Step<'_>>) -> Vec<Fault> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut faults = Vec::new();
    steps.retain(|step| {
        let other = seen.entry(step.stored_path().to_lowercase());
        let path = &step.file.path;
        let other = other.or_insert_with(|| path.clone());
        if other != path {
            let problem = Problem::CaseClash { other: other.clone() };
            faults.push(Fault { path: path.clone(), problem });
        }
        other == path
    });
    faults
}

/// Returns the entry of a file that has not changed and is in the target; `None` for any other.
fn unchanged(
    file: &TreeFile,
    stored: &str,
    old: &FileEntry,
    inside: &Inside,
    doubtful: bool,
    options: &Options<'_>,
) -> Result<Option<FileEntry>> {
    let expected = if old.packed.is_some() { stored } else { &file.path };
    if options.update == Update::Nothing || file.len != old.size || old.stored_path() != expected {
        return Ok(None);
    }
    let found = inside.place(expected).and_then(|place| fs::symlink_metadata(place).ok());
    let Some(found) = found.filter(fs::Metadata::is_file) else { return Ok(None) };
    let there = match old.stored_len() {
        Some(len) if !doubtful => len == found.len(),
        // The size tells nothing, or is not known.
        _ => is_as_listed(inside, old, options)?,
    };
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
    let mut entry = FileEntry { modified: file.noted_time(), ..old.clone() };
    entry.packed.iter_mut().for_each(|packed| packed.size = Some(found.len()));
    Ok(same.then_some(entry))
}

/// Whether a file holds weights that are not packed. A name of another format is believed.
pub(super) fn holds_weights(file: &TreeFile) -> bool {
    let read = || open_file(&file.full, Wanted::Safetensors).and_then(|open| Header::read(&open));
    let named = packed_name(&file.path).is_some();
    (named || !says_other(&file.path)) && file.len > 8 && read().is_ok()
}
