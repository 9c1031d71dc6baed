//! The tensors of a revision, by name, to compare revisions by.

use std::collections::BTreeMap;
use std::sync::Arc;

use at1w_container::Digest;

use crate::error::Result;
use crate::name::Revision;
use crate::original::Original;
use crate::store::Store;
use crate::tree::{File, Tree};

/// A tensor of a revision, or a file of it that is stored as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TensorEntry {
    /// The dtype as the header spells it; `file` for a file.
    pub dtype: String,
    /// The shape, in elements; the length of a file, in bytes.
    pub shape: Vec<u64>,
    /// The SHA-256 of the raw bytes.
    pub digest: Digest,
}

impl Store {
    /// Returns the tensors of a revision, and its other files by their paths, as [`tensors_of`]
    /// names them.
    ///
    /// # Errors
    /// Those of [`Store::tree`], and those of opening files.
    pub fn tensors(&self, revision: &Revision) -> Result<BTreeMap<String, TensorEntry>> {
        let (_, tree) = self.tree(revision)?;
        tensors_of(&tree, |file| self.original(&revision.repo.namespace, file).map(Arc::new))
    }
}

/// Returns the tensors of the files of a tree, which `open` opens, and its other files by their
/// paths. A tensor goes by its name, whichever file it is in; one whose name is in several files,
/// by the file as well.
///
/// # Errors
/// Those of `open`.
pub fn tensors_of<E>(
    tree: &Tree,
    mut open: impl FnMut(&File) -> Result<Arc<Original>, E>,
) -> Result<BTreeMap<String, TensorEntry>, E> {
    let mut tensors: BTreeMap<String, Vec<(&str, TensorEntry)>> = BTreeMap::new();
    let mut entries = BTreeMap::new();
    for (path, file) in &tree.files {
        let original = match file.root {
            Some(_) => Some(open(file)?),
            None => None,
        };
        let Some(Original::Packed(reader)) = original.as_deref() else {
            let (dtype, shape) = ("file".to_owned(), vec![file.size]);
            entries.insert(path.clone(), TensorEntry { dtype, shape, digest: file.sha256 });
            continue;
        };
        for tensor in reader.tensors() {
            let (dtype, shape) = (tensor.dtype_name().to_owned(), tensor.shape().to_vec());
            let entry = TensorEntry { dtype, shape, digest: tensor.digest() };
            tensors.entry(tensor.name().to_owned()).or_default().push((path, entry));
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
