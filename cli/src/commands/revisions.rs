//! What a revision in a store holds, by tensor, for `at1w diff`.

use std::collections::BTreeMap;
use std::path::Path;

use at1w_registry::{Revision, Store};

use super::diff::Entry;
use crate::failure::Result;

/// Returns the store and the revision of `STORE#NS/NAME@REV`; `None` for a path.
pub(super) fn named(text: &Path) -> Option<(&str, &str)> {
    let text = text.to_str()?;
    if Path::new(text).exists() {
        return None;
    }
    text.rsplit_once('#')
}

/// Returns the tensors of a revision, and its other files. A tensor goes by its name, whichever file
/// it is in; one whose name is in several files, by the file as well.
pub(super) fn entries((store, revision): (&str, &str)) -> Result<BTreeMap<String, Entry>> {
    let (store, revision): (_, Revision) = (Store::open(store)?, revision.parse()?);
    let (_, tree) = store.tree(&revision)?;
    let mut tensors: BTreeMap<String, Vec<(&str, Entry)>> = BTreeMap::new();
    let mut entries = BTreeMap::new();
    for (path, file) in &tree.files {
        if file.root.is_none() {
            let (dtype, sha256) = ("file".to_owned(), file.sha256.to_string());
            entries.insert(path.clone(), Entry { dtype, shape: vec![file.size], sha256 });
            continue;
        }
        let weights = store.open_file(&revision, path)?;
        for tensor in weights.header().tensors() {
            let digest = weights.tensor_digest(tensor.name(), &())?;
            let entry = (path.as_str(), Entry::new(tensor, digest));
            tensors.entry(tensor.name().to_owned()).or_default().push(entry);
        }
    }
    for (name, mut found) in tensors {
        match (found.pop(), found.is_empty()) {
            (Some((_, entry)), true) => _ = entries.insert(name, entry),
            (last, _) => {
                let all = found.into_iter().chain(last);
                entries.extend(all.map(|(path, entry)| (format!("{path}: {name}"), entry)));
            }
        }
    }
    Ok(entries)
}
