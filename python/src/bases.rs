//! The bases of versions: where they are looked for, and files that new ones are packed on.

use std::path::{Path, PathBuf};

use at1w_container::{Folders, OpenOptions, PackBase, Result};

/// Returns where bases are looked for: in folders that a caller names, in that of the file, and in
/// those of the environment.
pub(crate) fn folders_of(folders: Vec<PathBuf>, path: Option<&Path>) -> Folders {
    let own = path.map(|path| path.parent().unwrap_or(Path::new("")).to_owned());
    Folders::new(folders.into_iter().chain(own).chain(Folders::listed()), OpenOptions::new())
}

/// Opens the files that a new one is a version of.
pub(crate) fn open_bases(paths: Vec<PathBuf>) -> Result<Vec<PackBase>> {
    let open =
        |path: PathBuf| PackBase::open(&path, &OpenOptions::new(), folders_of(vec![], Some(&path)));
    paths.into_iter().map(open).collect()
}
