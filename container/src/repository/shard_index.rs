//! The index of a sharded model, which maps each tensor to its shard.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use serde::Deserialize;

use super::manifest::is_portable;
use super::tree::Present;
use crate::error::fault::Problem;

/// The largest index that is read, in bytes. An index of 300,000 tensors is smaller.
const MAX_LEN: u64 = 32 << 20;

/// By shard, the tensors that an index maps to it, sorted. The names of shards are relative to the
/// index. No sets of tensors: most of the memory for a hostile index would be theirs.
pub(super) type Shards = BTreeMap<String, Vec<String>>;

/// Whether the name of a file is that of an index of shards: `model.safetensors.index.json`, or
/// with a variant before the end, as diffusers names them.
pub(super) fn is_index(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.contains(".safetensors.index.") && name.ends_with(".json")
}

/// Reads an index. `None` for one that the file system does not give: whoever carries it over, or
/// verifies it, meets the same error.
pub(super) fn read(file: &Present) -> Option<Result<Shards, Problem>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let mut bytes = Vec::new();
    let read = |bytes: &mut _| File::open(&file.full)?.take(MAX_LEN + 1).read_to_end(bytes);
    read(&mut bytes).ok()?;
    let bad = |problem: String| Some(Err(Problem::BadIndex(problem)));
    if bytes.len() as u64 > MAX_LEN {
        return bad(format!("it has more than {MAX_LEN} bytes"));
    }
    let Index { weight_map } = match serde_json::from_slice(&bytes) {
        Ok(index) => index,
        Err(error) => return bad(error.to_string()),
    };
    let mut shards = Shards::new();
    for (tensor, shard) in weight_map {
        // Loaders join it to the folder of the index.
        let shard = shard.trim_start_matches("./");
        if !is_portable(shard) {
            return bad(format!("it names {shard:?}, which does not lie beside it"));
        }
        match shards.get_mut(shard) {
            Some(tensors) => tensors.push(tensor),
            None => _ = shards.insert(shard.to_owned(), vec![tensor]),
        }
    }
    Some(Ok(shards))
}

/// Returns the name that a shard has in common with the others, and the number of shards: `model`
/// and 3 for `model-00001-of-00003`.
pub(super) fn shard_of(stem: &str) -> Option<(&str, u64)> {
    let number = |text: &str| text.parse().ok().filter(|_| text.len() >= 5);
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
        assert_eq!(shard_of("model-00001-of-000163"), Some(("model", 163)));
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
