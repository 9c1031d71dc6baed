//! Checks that a repository is a whole model: its indices of shards against the files that are
//! there, and files whose names say weights against their content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;

use super::names::{LOADED, SAFETENSORS};
use super::shard_index::{self, is_index, shard_of};
use super::tree::Present;
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::format::tensor_info::TensorInfo;
use crate::kind::{FileKind, Wanted, WrongKind};
use crate::progress::{self, Progress};
use crate::read::options::OpenOptions;
use crate::read::weights::Weights;
use crate::recognise::{look, open_file};

/// The largest file that may be a pointer of Git LFS, in bytes.
const MAX_POINTER_LEN: u64 = 1024;

/// The number of faults that are listed: a hostile index can have millions.
const MAX_FAULTS: usize = 1000;

/// The result of inspecting the files of a repository.
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    /// The paths of the shards that an index names and that are there.
    pub(super) shards: HashSet<String>,
}

/// Finds the files that are missing, and those that are not what their names say. Files that cannot
/// be read at all are left to the caller who packs or verifies them. The content of `sound` files
/// is known to be what their names say.
pub(super) fn inspect(
    files: &[Present],
    sound: &HashSet<&str>,
    progress: &dyn Progress,
) -> Result<Findings> {
    let mut inspection = Inspection::new(files);
    // One index at a time is in memory.
    for file in files.iter().filter(|file| is_index(&file.path)) {
        progress::check(progress)?;
        inspection.inspect_index(file);
    }
    let mut families = BTreeMap::<(&str, u64), u64>::new();
    for file in files {
        progress::check(progress)?;
        if let Some(family) = file.path.strip_suffix(SAFETENSORS).and_then(shard_of) {
            match inspection.folders.get(folder(&file.path)) {
                None => *families.entry(family).or_default() += 1,
                Some(Indexed::Whole) if !inspection.shards.contains(file.path.as_str()) => {
                    inspection.add(&file.path, Problem::UnnamedShard);
                }
                Some(_) => {}
            }
        }
        if !sound.contains(file.path.as_str()) {
            inspection.inspect_content(file);
        }
    }
    for ((prefix, count), there) in families {
        let shards = format!("{there} of {count} shards are there, and no index names them");
        progress.note(&format!("{prefix}-…-of-{count:05}{SAFETENSORS}: {shards}"));
    }
    Ok(inspection.findings())
}

/// Whether all indices of a folder could be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indexed {
    Whole,
    InPart,
}

/// The faults found so far, and what later checks need of the indices.
struct Inspection<'a> {
    files: HashMap<&'a str, &'a Present>,
    /// The folders that have an index.
    folders: HashMap<&'a str, Indexed>,
    /// The shards that an index names and that are there.
    shards: HashSet<&'a str>,
    faults: Vec<Fault>,
    /// The number of faults beyond those that are listed.
    more: usize,
}

impl<'a> Inspection<'a> {
    fn new(files: &'a [Present]) -> Self {
        let files = files.iter().map(|file| (file.path.as_str(), file)).collect();
        let (folders, shards, faults) = Default::default();
        Self { files, folders, shards, faults, more: 0 }
    }

    fn add(&mut self, path: &str, problem: Problem) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { path: path.to_owned(), problem });
        } else {
            self.more += 1;
        }
    }

    /// Checks the shards that an index names, and their tensors.
    fn inspect_index(&mut self, file: &'a Present) {
        let folder = folder(&file.path);
        let shards = match shard_index::read(file) {
            Some(Ok(shards)) => shards,
            unread => {
                self.folders.insert(folder, Indexed::InPart);
                // Pointers of Git LFS are found among all files.
                if let Some(Err(problem)) = unread
                    && disguised(file).is_none()
                {
                    self.add(&file.path, problem);
                }
                return;
            }
        };
        self.folders.entry(folder).or_insert(Indexed::Whole);
        let joined = |shard: &str| match folder {
            "" => shard.to_owned(),
            folder => format!("{folder}/{shard}"),
        };
        if !shards.is_empty() && !shards.keys().any(|s| self.files.contains_key(&*joined(s))) {
            self.add(&file.path, Problem::NoShards { shards: shards.len() });
            return;
        }
        let index = || file.path.clone();
        for (shard, tensors) in shards {
            let path = joined(&shard);
            let Some(&present) = self.files.get(&*path) else {
                let tensors = tensors.len();
                self.add(&path, Problem::MissingShard { index: index(), tensors });
                continue;
            };
            self.shards.insert(&present.path);
            // A shard that is not valid is found among all files.
            let Ok(weights) = Weights::open(&present.full, &OpenOptions::new()) else { continue };
            let names: HashSet<_> =
                weights.header().tensors().iter().map(TensorInfo::name).collect();
            let mut missing = tensors.iter().filter(|name| !names.contains(name.as_str()));
            if let Some(first) = missing.next() {
                let (first, count) = (first.clone(), 1 + missing.count());
                self.add(&path, Problem::MissingTensors { index: index(), first, count });
            }
        }
    }

    /// Checks that a file whose name says weights holds some.
    fn inspect_content(&mut self, file: &Present) {
        if !is_safetensors(&file.path) {
            if let Some(error) = disguised(file) {
                self.add(&file.path, Problem::WrongKind(error));
            }
            return;
        }
        if let Err(error) = Weights::open(&file.full, &OpenOptions::new()) {
            match error.without_file() {
                Error::Safetensors(error) => self.add(&file.path, Problem::BadHeader(error)),
                Error::WrongKind(error) => self.add(&file.path, Problem::WrongKind(error)),
                _ => {}
            }
        }
    }

    fn findings(mut self) -> Findings {
        let mut faults = mem::take(&mut self.faults);
        faults.sort_by(|a, b| a.path.cmp(&b.path));
        if self.more > 0 {
            let problem = Problem::More { count: self.more };
            faults.push(Fault { path: String::new(), problem });
        }
        Findings { faults, shards: self.shards.into_iter().map(str::to_owned).collect() }
    }
}

/// Whether an error says that a file holds no weights.
pub(super) fn is_not_weights(error: &Error) -> bool {
    use Error::{AlreadyPacked, Safetensors, WrongKind};
    matches!(error.innermost(), AlreadyPacked | Safetensors(_) | WrongKind(_))
}

/// Recognises a file that holds no weights under a name that says weights of another format, and a
/// pointer of Git LFS under any name.
fn disguised(file: &Present) -> Option<WrongKind> {
    let named = || {
        let path = file.path.to_ascii_lowercase();
        LOADED.iter().any(|(suffix, weights)| *weights && path.ends_with(suffix))
    };
    if file.len > MAX_POINTER_LEN && !named() {
        return None;
    }
    let source = open_file(&file.full, Wanted::Weights).ok()?;
    let found = look(&source).ok()??;
    let pointer = matches!(found, FileKind::LfsPointer { .. });
    (pointer || named() && found.holds_no_weights(file.len))
        .then_some(WrongKind { found, wanted: Wanted::Weights })
}

fn is_safetensors(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(SAFETENSORS)
}

/// Returns the folder of a path; empty at the root.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
