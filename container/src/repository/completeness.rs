//! Checks that a repository is a whole model: its indices of shards against the files that are
//! there, and files whose names say weights against their content.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::Read;

use serde::Deserialize;

use super::names::{LOADED, SAFETENSORS};
use super::tree::Present;
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::format::tensor_info::TensorInfo;
use crate::kind::{FileKind, Wanted, WrongKind};
use crate::progress::{self, Progress};
use crate::read::options::OpenOptions;
use crate::read::weights::Weights;
use crate::recognise::{look, open_file};

/// The largest index that is read, in bytes: no model has a larger one.
const MAX_INDEX_LEN: u64 = 100_000_000;

/// The largest file that may be a pointer of Git LFS, in bytes.
const MAX_POINTER_LEN: u64 = 1024;

/// The result of inspecting the files of a repository.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    /// The paths of the shards that an index names.
    pub(super) shards: HashSet<String>,
}

/// By shard, the tensors that each index maps to it.
type Shards<'a> = BTreeMap<String, Vec<(&'a str, BTreeSet<String>)>>;

/// Finds the files that are missing, and those that are not what their names say. Files that cannot
/// be read at all are left to the caller who packs or verifies them.
pub(super) fn inspect(files: &[Present<'_>], progress: &dyn Progress) -> Result<Findings> {
    let mut faults = Vec::new();
    let mut add = |path: &str, problem| faults.push(Fault { path: path.to_owned(), problem });
    let shards = map_shards(files, &mut add);
    let indices = files.iter().filter(|file| is_index(file.path));
    let indexed_folders: HashSet<_> = indices.map(|file| folder(file.path)).collect();
    let mut families = BTreeMap::<(&str, u64), u64>::new();
    for file in files {
        progress::check(progress)?;
        if let Some(family) = file.path.strip_suffix(SAFETENSORS).and_then(shard_of) {
            if !indexed_folders.contains(folder(file.path)) {
                *families.entry(family).or_default() += 1;
            } else if !shards.contains_key(file.path) {
                add(file.path, Problem::UnnamedShard);
            }
        }
        let by_index = shards.get(file.path).map_or(&[][..], Vec::as_slice);
        if is_safetensors(file.path) {
            inspect_weights(file, by_index, &mut add);
        } else if let Some(error) = disguised(file) {
            add(file.path, Problem::WrongKind(error));
        }
    }
    for ((prefix, count), there) in families {
        let shards = format!("{there} of {count} shards are there, and no index names them");
        progress.note(&format!("{prefix}-…-of-{count:05}{SAFETENSORS}: {shards}"));
    }
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Findings { faults, shards: shards.into_keys().collect() })
}

/// Reads the indices, and finds shards that are missing.
fn map_shards<'a>(files: &[Present<'a>], add: &mut impl FnMut(&str, Problem)) -> Shards<'a> {
    let paths: HashSet<&str> = files.iter().map(|file| file.path).collect();
    let mut mapped = Shards::new();
    for file in files.iter().filter(|file| is_index(file.path)) {
        let Some(shards) = read_index(file, add) else { continue };
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
    mapped
}

/// Opens a safetensors file, packed or not, and checks that it has the tensors that indices map to
/// it.
fn inspect_weights(
    file: &Present<'_>,
    by_index: &[(&str, BTreeSet<String>)],
    add: &mut impl FnMut(&str, Problem),
) {
    let weights = match Weights::open(file.full, &OpenOptions::new()) {
        Ok(weights) => weights,
        Err(error) => {
            match error.without_file() {
                Error::Safetensors(error) => add(file.path, Problem::BadHeader(error)),
                Error::WrongKind(error) => add(file.path, Problem::WrongKind(error)),
                _ => {}
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
    matches!(error.innermost(), Error::Safetensors(_) | Error::WrongKind(_))
}

/// Recognises a file that holds no weights under a name that says weights of another format, and a
/// pointer of Git LFS under any name.
fn disguised(file: &Present<'_>) -> Option<WrongKind> {
    let named = || {
        let path = file.path.to_ascii_lowercase();
        LOADED.iter().any(|(suffix, weights)| *weights && path.ends_with(suffix))
    };
    if file.len > MAX_POINTER_LEN && !named() {
        return None;
    }
    let source = open_file(file.full, Wanted::Weights).ok()?;
    let found = look(&source).ok()??;
    let pointer = matches!(found, FileKind::LfsPointer { .. });
    (pointer || named() && found.holds_no_weights(file.len))
        .then_some(WrongKind { found, wanted: Wanted::Weights })
}

/// Returns, by shard, the tensors that an index maps to it. An index names shards relative to
/// itself.
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
    // Carrying the file over, or verifying it, meets the same error of the file system again.
    read(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_INDEX_LEN {
        add(file.path, Problem::BadIndex(format!("it has more than {MAX_INDEX_LEN} bytes")));
        return None;
    }
    let Index { weight_map } = match serde_json::from_slice(&bytes) {
        Ok(index) => index,
        // All files are searched for pointers of Git LFS.
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

/// Whether the name of a file is that of an index of shards: `model.safetensors.index.json`, or
/// with a variant before the end, as diffusers names them.
fn is_index(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.contains(".safetensors.index.") && name.ends_with(".json")
}

fn is_safetensors(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(SAFETENSORS)
}

/// Returns the folder of a path; empty at the root.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the name that a shard has in common with the others, and the number of shards: `model`
/// and 3 for `model-00001-of-00003`.
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
