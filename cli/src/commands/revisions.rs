//! What a revision in a store holds, by tensor, for `at1w diff`.

use std::collections::BTreeMap;
use std::path::Path;

use at1w_registry::{Store, TensorEntry};

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

/// Returns the tensors of a revision, and its other files.
pub(super) fn entries((store, revision): (&str, &str)) -> Result<BTreeMap<String, Entry>> {
    let tensors = Store::open(store)?.tensors(&revision.parse()?)?;
    let entry = |(name, entry): (String, TensorEntry)| {
        let (dtype, shape, sha256) = (entry.dtype, entry.shape, entry.digest.to_string());
        (name, Entry { dtype, shape, sha256 })
    };
    Ok(tensors.into_iter().map(entry).collect())
}
