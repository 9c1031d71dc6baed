//! The paths of a directory that no link leads out of.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory whose paths come from a manifest, which may be anybody's. The links in it may be
/// too, so that nothing beyond one that leads out may be trusted or removed.
pub(super) struct Inside {
    root: PathBuf,
    /// The path of the root without links; `None` if there is no such directory.
    real: Option<PathBuf>,
    /// The folders that were looked at, and whether they lie inside.
    known: RefCell<HashMap<PathBuf, bool>>,
}

impl Inside {
    pub(super) fn of(root: &Path) -> Self {
        Self { root: root.into(), real: fs::canonicalize(root).ok(), known: RefCell::default() }
    }

    /// Returns the place of `path`, unless the folder that it lies in is missing or outside.
    pub(super) fn place(&self, path: &str) -> Option<PathBuf> {
        let place = self.root.join(path);
        let folder = place.parent()?;
        let mut known = self.known.borrow_mut();
        let inside = known.get(folder).copied().unwrap_or_else(|| {
            let real = fs::canonicalize(folder).ok();
            let inside = real.zip(self.real.as_ref()).is_some_and(|(f, root)| f.starts_with(root));
            known.insert(folder.into(), inside);
            inside
        });
        inside.then_some(place)
    }

    /// Whether anything has this path, wherever it lies.
    pub(super) fn is_there(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// Returns the place of `path`, unless a link leads to it, be it from within.
    pub(super) fn own(&self, path: &str) -> Option<PathBuf> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let real = fs::canonicalize(self.root.join(folder)).ok()?;
        // A path that is joined with nothing ends in a slash.
        let expected = self.real.as_ref()?.join(folder);
        real.components().eq(expected.components()).then(|| self.root.join(path))
    }
}
