//! Pulling from a server: packed files come packed, and everything is checked here.

use std::path::Path;

use at1w_container::{Error as Packing, FEATURES, OpenOptions, ReadAt, Reader};
use at1w_registry::{
    Error as StoreError, File, Files, Original, PullOptions, Pulled, RepoName, Revision, lay_down,
};
use at1w_remote::RemoteFile;

use super::{Hub, ROOT};
use crate::failure::Result;

/// The files of a commit.
struct Commit<'a> {
    hub: &'a Hub,
    repo: &'a RepoName,
    id: &'a str,
}

impl Commit<'_> {
    fn open(&self, path: &str, packed: bool) -> Result<RemoteFile, StoreError> {
        let RepoName { namespace, name } = self.repo;
        let mut segments = ROOT.to_vec();
        segments.extend(["resolve", namespace, name, self.id]);
        segments.extend(path.split('/'));
        let features = [("at1w", "1".to_owned()), ("features", format!("{FEATURES:x}"))];
        let query = if packed { &features[..] } else { &[] };
        Ok(self.hub.0.file(&segments, query)?)
    }
}

impl Files for Commit<'_> {
    fn packed(
        &self,
        path: &str,
        file: &File,
    ) -> Result<(Box<dyn ReadAt>, OpenOptions), StoreError> {
        let open = OpenOptions::new().root(file.root);
        Ok((Box::new(self.open(path, true)?), open))
    }

    fn original(&self, path: &str, file: &File) -> Result<Original, StoreError> {
        if file.root.is_none() {
            return Ok(Original::plain(Box::new(self.open(path, false)?)));
        }
        let (source, open) = self.packed(path, file)?;
        let reader = Reader::new(source, &open);
        Ok(Original::Packed(Box::new(reader.map_err(|error| error.in_file(Path::new(path)))?)))
    }
}

impl Hub {
    /// Writes the files of a revision into a directory.
    pub(crate) fn pull(
        &self,
        revision: &Revision,
        target: &Path,
        options: &PullOptions<'_>,
    ) -> Result<Pulled> {
        let (commit, tree) = self.tree(revision)?;
        let files = Commit { hub: self, repo: &revision.repo, id: &commit.id };
        let pulled = lay_down(revision, (&commit.id, commit.tree), &tree, &files, target, options);
        Ok(pulled.map_err(|error| match error {
            StoreError::Remote(at1w_remote::Error::Cancelled) => Packing::Cancelled.into(),
            error => error,
        })?)
    }
}
