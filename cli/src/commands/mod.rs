//! The commands, one file each.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod get;
pub(crate) mod info;
pub(crate) mod keygen;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod measure;
pub(crate) mod meter;
pub(crate) mod pack;
pub(crate) mod proof;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rebase;
pub(crate) mod repo;
mod revisions;
pub(crate) mod serve;
pub(crate) mod sign;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod unpack;
pub(crate) mod verify;

const AT1W: &str = ".at1w";
const SAFETENSORS: &str = ".safetensors";

/// Returns `path` with `new` in place of `old` at its end; `None` if it does not end in `old`.
fn with_suffix(path: &Path, old: &str, new: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(old)?;
    (!name.is_empty()).then(|| path.with_file_name(format!("{name}{new}")))
}

/// Returns the target that a command was given; an error where it follows from no name.
pub(crate) fn default_target(source: &Path, target: Option<PathBuf>) -> Result<PathBuf> {
    target.ok_or_else(|| {
        let source = source.display();
        Failure::Usage(format!("the name of {source} does not say what to write: name it with -o"))
    })
}
