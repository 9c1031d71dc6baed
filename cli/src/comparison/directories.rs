//! The files of two directories, compared.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::rc::Rc;

use at1w_container::repository::{ContentFile, FileId};
use at1w_container::{Error, Progress};
use serde::Serialize;

use super::tensors::{Content, Differences, Entry, Tensors};
use crate::directory::Directory;
use crate::output::{counted, printable};

/// The files of a directory, by their paths before packing.
pub(crate) type Files = BTreeMap<String, Rc<File>>;

/// The content of a file.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum File {
    Weights(Content),
    /// Any other file, by its SHA-256.
    Other(String),
}

/// The differences of two directories.
#[derive(Default, Serialize)]
pub(crate) struct DirectoryDifferences {
    /// The tensors of all files together.
    tensors: Totals,
    same_files: usize,
    /// The files that are not the same, sorted by path.
    files: Vec<FileDifferences>,
    /// The tensors that are in another file, perhaps under another name.
    moved: Vec<Move>,
}

#[derive(Default, Serialize)]
struct Totals {
    same: usize,
    changed: usize,
    removed: usize,
    added: usize,
    renamed: usize,
    moved: usize,
}

#[derive(Serialize)]
struct FileDifferences {
    path: String,
    change: FileChange,
    /// The path in the other directory, of a file that was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The differences of the tensors, of a file of weights.
    #[serde(flatten)]
    tensors: Option<Differences>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum FileChange {
    Removed,
    Added,
    Changed,
    Renamed,
}

#[derive(Serialize)]
struct Move {
    from: String,
    from_file: String,
    to: String,
    to_file: String,
}

/// Reads the digests of all files of a directory. Reports those that cannot be read.
pub(crate) fn read_files(
    directory: &mut Directory,
    progress: &dyn Progress,
) -> Result<Files, Error> {
    let (mut files, mut errors) = (Files::new(), Vec::new());
    let mut known = HashMap::<&FileId, Rc<File>>::new();
    let paths: HashSet<_> = directory.contents.files.iter().map(|file| &*file.path).collect();
    for file in &directory.contents.files {
        let read = match known.get(file.id()) {
            Some(known) => Ok(Rc::clone(known)),
            None => File::read(file, progress).map(Rc::new),
        };
        match read {
            Ok(content) => {
                known.insert(file.id(), Rc::clone(&content));
                let mut path = file.original_path.clone();
                // Of a file that was packed by itself, unless there is another of that name.
                if let (false, File::Weights(_)) = (file.is_pinned(), &*content)
                    && let Some(stem) = path.strip_suffix(".at1w")
                {
                    let plain = format!("{stem}.safetensors");
                    if !paths.contains(&*plain) {
                        path = plain;
                    }
                }
                // Names that are no UTF-8 can look the same.
                while files.contains_key(&path) {
                    path.push(char::REPLACEMENT_CHARACTER);
                }
                files.insert(path, content);
            }
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => errors.push(error),
        }
    }
    errors.iter().for_each(|error| directory.report(error));
    Ok(files)
}

/// Returns the tensors of all files together, or the name of one that is in several of them with
/// different content.
pub(crate) fn all_tensors(files: &Files) -> Result<Tensors, String> {
    let mut tensors = Tensors::new();
    for file in files.values() {
        let File::Weights(content) = &**file else { continue };
        for (name, entry) in &content.tensors {
            if tensors.insert(name.clone(), entry.clone()).is_some_and(|other| other != *entry) {
                return Err(name.clone());
            }
        }
    }
    Ok(tensors)
}

impl File {
    fn read(file: &ContentFile, progress: &dyn Progress) -> Result<Self, Error> {
        match file.open() {
            Ok(Some(weights)) => {
                let content = Content::read(&weights, progress);
                Ok(Self::Weights(content.map_err(|error| error.in_file(&file.full))?))
            }
            // Its name says weights, and it is compared by its bytes all the same.
            Err(error)
                if !matches!(error.innermost(), Error::Safetensors(_) | Error::WrongKind(_)) =>
            {
                Err(error)
            }
            _ => Ok(Self::Other(file.digest(progress)?.to_string())),
        }
    }

    fn tensors(&self) -> Tensors {
        match self {
            Self::Weights(content) => content.tensors.clone(),
            Self::Other(_) => Tensors::new(),
        }
    }
}

impl FileDifferences {
    fn new(path: String, change: FileChange, old: Option<&File>, new: Option<&File>) -> Self {
        let weights = |file: Option<&File>| matches!(file, Some(File::Weights(_)));
        let tensors = match (old, new) {
            (Some(File::Weights(old)), Some(File::Weights(new))) => Some(Differences::of(old, new)),
            _ if weights(old) || weights(new) => {
                let tensors = |file: Option<&File>| file.map(File::tensors).unwrap_or_default();
                Some(Differences::of_tensors(tensors(old), tensors(new)))
            }
            _ => None,
        };
        Self { path, change, to: None, tensors }
    }
}

/// Says how many tensors a file had for itself alone; nothing of other files.
fn count_of(tensors: Option<usize>) -> String {
    tensors.map_or(String::new(), |tensors| format!("  {}", counted(tensors as u64, "tensor")))
}

impl DirectoryDifferences {
    pub(crate) fn of(old: Files, mut new: Files) -> Self {
        let mut differences = Self::default();
        let mut gone = Vec::new();
        for (path, from) in old {
            match new.remove(&path) {
                Some(to) if to == from => {
                    differences.same_files += 1;
                    differences.tensors.same += from.tensors().len();
                }
                Some(to) => {
                    let (change, from, to) = (FileChange::Changed, Some(&*from), Some(&*to));
                    differences.add(FileDifferences::new(path, change, from, to));
                }
                None => gone.push((path, from)),
            }
        }
        // Among several files with one content, the first names are paired.
        let mut by_content = HashMap::<_, Vec<String>>::new();
        for (path, to) in new.iter().rev() {
            by_content.entry(Rc::clone(to)).or_default().push(path.clone());
        }
        for (path, from) in gone {
            if let Some(to) = by_content.get_mut(&from).and_then(Vec::pop) {
                new.remove(&to);
                let file =
                    FileDifferences::new(path, FileChange::Renamed, Some(&*from), Some(&*from));
                differences.add(FileDifferences { to: Some(to), ..file });
            } else {
                differences.add(FileDifferences::new(
                    path,
                    FileChange::Removed,
                    Some(&*from),
                    None,
                ));
            }
        }
        for (path, to) in new {
            differences.add(FileDifferences::new(path, FileChange::Added, None, Some(&*to)));
        }
        differences.files.sort_by(|a, b| a.path.cmp(&b.path));
        differences.find_moves();
        differences.count();
        differences
    }

    /// Adds the differences of a file, unless there are none but in the layout of its header.
    fn add(&mut self, file: FileDifferences) {
        if file.change == FileChange::Changed
            && let Some(tensors) = file.tensors.as_ref().filter(|tensors| !tensors.any())
        {
            self.same_files += 1;
            self.tensors.same += tensors.same;
        } else {
            self.files.push(file);
        }
    }

    /// Pairs tensors that are gone from one file with those that came in another: first under the
    /// same name, then under any.
    fn find_moves(&mut self) {
        for same_name in [true, false] {
            let key =
                |name: &str, entry: &Entry| (same_name.then(|| name.to_owned()), entry.clone());
            let mut came = HashMap::<_, Vec<(usize, String)>>::new();
            for (at, file) in self.files.iter().enumerate().rev() {
                let added = file.tensors.iter().flat_map(|tensors| tensors.added.iter().rev());
                for (name, entry) in added {
                    came.entry(key(name, entry)).or_default().push((at, name.clone()));
                }
            }
            for from_at in 0..self.files.len() {
                let Some(tensors) = &mut self.files[from_at].tensors else { continue };
                for (from, entry) in std::mem::take(&mut tensors.removed) {
                    let to = came.get_mut(&key(&from, &entry)).and_then(Vec::pop);
                    let (from_file, to) = (self.files[from_at].path.clone(), to);
                    if let Some((to_at, to)) = to {
                        let to_file = self.files[to_at].path.clone();
                        if let Some(tensors) = &mut self.files[to_at].tensors {
                            tensors.added.remove(&to);
                        }
                        self.moved.push(Move { from, from_file, to, to_file });
                    } else if let Some(tensors) = &mut self.files[from_at].tensors {
                        tensors.removed.insert(from, entry);
                    }
                }
            }
        }
    }

    /// Counts the tensors of the files that are not the same.
    fn count(&mut self) {
        let totals = &mut self.tensors;
        totals.moved = self.moved.len();
        for tensors in self.files.iter().filter_map(|file| file.tensors.as_ref()) {
            totals.same += tensors.same;
            totals.changed += tensors.changed.len();
            totals.removed += tensors.removed.len();
            totals.added += tensors.added.len();
            totals.renamed += tensors.renamed.len();
        }
    }

    pub(crate) fn any(&self) -> bool {
        !self.files.is_empty()
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for FileDifferences { path, change, to, tensors } in &self.files {
            let path = printable(path);
            match (change, to) {
                // Of a whole file the tensors are counted, not listed.
                (FileChange::Removed, _) => {
                    let tensors = tensors.as_ref().map(|tensors| tensors.removed.len());
                    writeln!(out, "- {path}{}", count_of(tensors))?;
                    continue;
                }
                (FileChange::Added, _) => {
                    let tensors = tensors.as_ref().map(|tensors| tensors.added.len());
                    writeln!(out, "+ {path}{}", count_of(tensors))?;
                    continue;
                }
                (FileChange::Changed, _) => writeln!(out, "~ {path}")?,
                (FileChange::Renamed, to) => {
                    let to = to.as_deref().unwrap_or_default();
                    writeln!(out, "> {path} -> {}", printable(to))?;
                }
            }
            if let Some(tensors) = tensors {
                tensors.print_lines("    ", out)?;
            }
        }
        for Move { from, from_file, to, to_file } in &self.moved {
            let [from, from_file, to, to_file] =
                [from, from_file, to, to_file].map(|s| printable(s));
            let name = if from == to { from.into_owned() } else { format!("{from} -> {to}") };
            writeln!(out, "> {name}  from {from_file} to {to_file}")?;
        }
        let files = |change| self.files.iter().filter(|file| file.change == change).count();
        writeln!(
            out,
            "files: {} same, {} changed, {} removed, {} added, {} renamed",
            self.same_files,
            files(FileChange::Changed),
            files(FileChange::Removed),
            files(FileChange::Added),
            files(FileChange::Renamed)
        )?;
        let Totals { same, changed, removed, added, renamed, moved } = self.tensors;
        writeln!(
            out,
            "tensors: {same} same, {changed} changed, {removed} removed, {added} added, {renamed} \
             renamed, {moved} moved"
        )
    }
}
