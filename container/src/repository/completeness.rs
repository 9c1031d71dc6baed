//! Checks that a repository is a whole model: its indices of shards against the files that are
//! there, and files whose names say weights against their content.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::{LOADED, Observer, SAFETENSORS};
use crate::format::header::TensorInfo;
use crate::kind::{self, Wanted, open_file};
use crate::{Error, OpenOptions, Result, Weights};

/// More bytes than the index of any model has.
const MAX_INDEX_LEN: u64 = 100_000_000;

/// More bytes than a pointer of Git LFS has.
const MAX_POINTER_LEN: u64 = 1024;

/// A file of a repository that is missing, or is not what it should be.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fault {
    /// The file, relative to the repository as it was before packing, with forward slashes.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file of a repository.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// Its name says weights, and its content is something else.
    NotWeights(Error),
    /// It is an index of shards by its name, and cannot be read as one.
    BadIndex(String),
    /// It is an index, and none of its shards is there.
    NoShards {
        /// How many shards it names.
        shards: usize,
    },
    /// It is a shard that is not there.
    MissingShard {
        /// The index that names it.
        index: String,
        /// How many tensors the index maps to it.
        tensors: usize,
    },
    /// It is a shard that lacks tensors.
    MissingTensors {
        /// The index that maps them to it.
        index: String,
        /// The first of them by name.
        first: String,
        /// How many there are.
        count: usize,
    },
    /// It is a shard by its name, and the index beside it does not name it.
    UnnamedShard,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, problem } = self;
        write!(f, "{path}: {problem}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWeights(error) => write!(f, "{error}"),
            Self::BadIndex(problem) => write!(f, "is not a valid index of shards: {problem}"),
            Self::NoShards { shards } => {
                write!(f, "names {shards} shards, none of which is there: incomplete download?")
            }
            Self::MissingShard { index, tensors } => {
                write!(f, "is missing: {index} maps {tensors} tensors to it")
            }
            Self::MissingTensors { index, first, count: 1 } => {
                write!(f, "lacks tensor {first:?}, which {index} maps to it")
            }
            Self::MissingTensors { index, first, count } => {
                write!(f, "lacks {count} tensors that {index} maps to it, {first:?} among them")
            }
            Self::UnnamedShard => f.write_str("is a shard that the index beside it does not name"),
        }
    }
}

/// A file of a repository: its path before packing, and where it lies now, packed or not.
pub(super) struct Present<'a> {
    pub(super) path: &'a str,
    pub(super) full: &'a Path,
    pub(super) len: u64,
}

/// What a look at the files of a repository found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    /// The paths of the shards that an index names.
    pub(super) shards: HashSet<String>,
}

/// Finds what is missing from these files, and which are not what their names say. Files that cannot
/// be read at all are left to whoever packs or verifies them.
pub(super) fn inspect(files: &[Present<'_>], observer: &dyn Observer) -> Result<Findings> {
    let mut faults = Vec::new();
    let mut add = |path: &str, problem| faults.push(Fault { path: path.to_owned(), problem });
    let paths: HashSet<&str> = files.iter().map(|file| file.path).collect();
    let mut indexed_folders = HashSet::new();
    // By shard, the tensors that each index maps to it.
    let mut mapped = BTreeMap::<String, Vec<(&str, BTreeSet<String>)>>::new();
    for file in files.iter().filter(|file| is_index(file.path)) {
        indexed_folders.insert(folder(file.path));
        let shards = match read_index(file, &mut add) {
            Some(shards) => shards,
            None => continue,
        };
        if !shards.is_empty() && !shards.keys().any(|shard| paths.contains(shard.as_str())) {
            add(file.path, Problem::NoShards { shards: shards.len() });
            continue;
        }
        for (shard, tensors) in shards {
            if !paths.contains(shard.as_str()) {
                let (index, tensors) = (file.path.to_owned(), tensors.len());
                add(&shard, Problem::MissingShard { index, tensors });
                continue;
            }
            mapped.entry(shard).or_default().push((file.path, tensors));
        }
    }

    let mut families = BTreeMap::<(&str, u64), u64>::new();
    for file in files {
        if observer.cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(family) = file.path.strip_suffix(SAFETENSORS).and_then(shard_of) {
            if !indexed_folders.contains(folder(file.path)) {
                *families.entry(family).or_default() += 1;
            } else if !mapped.contains_key(file.path) {
                add(file.path, Problem::UnnamedShard);
            }
        }
        let by_index = mapped.get(file.path).map_or(&[][..], Vec::as_slice);
        if is_safetensors(file.path) {
            inspect_weights(file, by_index, &mut add);
        } else if let Some(error) = disguised(file) {
            add(file.path, Problem::NotWeights(error));
        }
    }
    for ((prefix, count), there) in families {
        let shards = format!("{there} of {count} shards are there, and no index names them");
        observer.note(&format!("{prefix}-…-of-{count:05}{SAFETENSORS}: {shards}"));
    }
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Findings { faults, shards: mapped.into_keys().collect() })
}

/// Opens a safetensors file, packed or not, and looks for the tensors that indices map to it.
fn inspect_weights(
    file: &Present<'_>,
    by_index: &[(&str, BTreeSet<String>)],
    add: &mut impl FnMut(&str, Problem),
) {
    let weights = match Weights::open(file.full, &OpenOptions::default()) {
        Ok(weights) => weights,
        Err(error) => {
            if is_not_weights(&error) {
                add(file.path, Problem::NotWeights(error.without_file()));
            }
            return;
        }
    };
    let names: HashSet<&str> = weights.header().tensors().iter().map(TensorInfo::name).collect();
    for (index, tensors) in by_index {
        let mut missing = tensors.iter().filter(|name| !names.contains(name.as_str()));
        if let Some(first) = missing.next() {
            let (index, first, count) = ((*index).to_owned(), first.clone(), 1 + missing.count());
            add(file.path, Problem::MissingTensors { index, first, count });
        }
    }
}

/// Whether an error says that a file holds no weights.
pub(super) fn is_not_weights(error: &Error) -> bool {
    matches!(error.innermost(), Error::Safetensors(_) | Error::WrongKind { .. })
}

/// Recognises a file that holds no weights under a name that says weights of another format, and a
/// pointer of Git LFS under any name.
fn disguised(file: &Present<'_>) -> Option<Error> {
    let named = || {
        let path = file.path.to_ascii_lowercase();
        LOADED.iter().any(|(suffix, weights)| *weights && path.ends_with(suffix))
    };
    if file.len > MAX_POINTER_LEN && !named() {
        return None;
    }
    let source = open_file(file.full, Wanted::Weights).ok()?;
    let found = kind::look(&source).ok()??;
    let pointer = matches!(found, kind::FileKind::LfsPointer { .. });
    (pointer || named() && found.holds_no_weights(file.len))
        .then_some(Error::WrongKind { found, wanted: Wanted::Weights })
}

/// By shard, the tensors that an index maps to it. A shard is named relative to the index.
fn read_index(
    file: &Present<'_>,
    add: &mut impl FnMut(&str, Problem),
) -> Option<BTreeMap<String, BTreeSet<String>>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let mut bytes = Vec::new();
    let read = |bytes: &mut _| File::open(file.full)?.take(MAX_INDEX_LEN + 1).read_to_end(bytes);
    // An error of the file system is met again by whoever carries the file over, or verifies it.
    read(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_INDEX_LEN {
        add(file.path, Problem::BadIndex(format!("it has more than {MAX_INDEX_LEN} bytes")));
        return None;
    }
    let Index { weight_map } = match serde_json::from_slice(&bytes) {
        Ok(index) => index,
        // Pointers of Git LFS are found among all files.
        Err(_) if bytes.starts_with(b"version https://git-lfs") => return None,
        Err(error) => {
            add(file.path, Problem::BadIndex(error.to_string()));
            return None;
        }
    };
    let mut shards = BTreeMap::<String, BTreeSet<String>>::new();
    for (tensor, shard) in weight_map {
        let shard = match folder(file.path) {
            "" => shard,
            folder => format!("{folder}/{shard}"),
        };
        shards.entry(shard).or_default().insert(tensor);
    }
    Some(shards)
}

/// Whether a file is an index of shards by its name: `model.safetensors.index.json`, or with a
/// variant before the end, as diffusers names them.
fn is_index(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.contains(".safetensors.index.") && name.ends_with(".json")
}

fn is_safetensors(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(SAFETENSORS)
}

/// The folder of a path, empty at the root.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The name that a shard has in common with the others, and how many there are: of
/// `model-00001-of-00003`, `model` and 3.
fn shard_of(stem: &str) -> Option<(&str, u64)> {
    let number = |text: &str| text.parse().ok().filter(|_| text.len() == 5);
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (prefix, at) = rest.rsplit_once('-')?;
    let _: u64 = number(at)?;
    Some((prefix, number(count)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_known_by_their_names() {
        assert_eq!(shard_of("a/model-00001-of-00003"), Some(("a/model", 3)));
        assert_eq!(shard_of("model.fp16-00002-of-00012"), Some(("model.fp16", 12)));
        for other in ["model", "model-1-of-3", "model-00001", "-of-00003", "out-of-memory"] {
            assert_eq!(shard_of(other), None, "{other}");
        }
    }

    #[test]
    fn indices_are_known_by_their_names() {
        assert!(is_index("model.safetensors.index.json"));
        assert!(is_index("unet/model.safetensors.index.fp16.json"));
        assert!(!is_index("pytorch_model.bin.index.json"));
        assert!(!is_index("model.safetensors.index.d/config.json"));
    }
}
