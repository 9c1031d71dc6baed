//! Files to measure that lie in stores and behind addresses.

use std::path::Path;
use std::sync::Arc;

use at1w_container::{OpenOptions, Progress, ReadAt, Weights};
use at1w_registry::{Error as StoreError, Revision, Store};
use at1w_remote::{Objects, is_remote, open_url};

use crate::fault::Fault;

/// What stands between a store and a revision of it.
const WITHIN: char = '#';

/// Something that is no path of a file or of a directory to walk.
pub(crate) enum Named<'a> {
    /// A revision of a store.
    Revision(&'a str, &'a str),
    /// All repositories of a store, or all files below an address in a bucket.
    All(&'a str),
    /// One file.
    File(&'a str),
}

/// Returns what a text on the command line names; `None` for a path.
pub(crate) fn named(path: &Path) -> Option<Named<'_>> {
    let text = path.to_str()?;
    if path.exists() {
        return path.join("store.json").is_file().then_some(Named::All(text));
    }
    if let Some((store, revision)) = text.rsplit_once(WITHIN) {
        return Some(Named::Revision(store, revision));
    }
    let is_file = text.ends_with(".safetensors") || text.ends_with(".at1w");
    let is_bucket = ["s3://", "gs://", "az://"].iter().any(|scheme| text.starts_with(scheme));
    match is_remote(text) {
        true if is_bucket && !is_file => Some(Named::All(text)),
        true => Some(Named::File(text)),
        false => None,
    }
}

/// Something that was found.
pub(crate) enum Found {
    /// A file of weights.
    Weights(Box<Away>),
    /// The length of another file.
    Other(u64),
    /// A path that could not be looked at.
    Fault(Fault),
}

/// A file of weights that is not on this machine.
pub(crate) struct Away {
    /// The path in the report.
    pub(crate) shown: String,
    /// The path that tells its repository and its model.
    pub(crate) path: String,
    pub(crate) len: u64,
    pub(crate) is_packed: bool,
    pub(crate) source: Arc<dyn ReadAt>,
}

/// A failure to list or to open what is elsewhere, as a message.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// A search, and whom it tells of what it finds.
struct Search<'a> {
    progress: &'a dyn Progress,
    found: &'a mut dyn FnMut(Found),
}

/// Finds the files that `named` leads to.
pub(crate) fn find(named: &Named<'_>, progress: &dyn Progress, found: &mut dyn FnMut(Found)) {
    let mut search = Search { progress, found };
    match named {
        Named::File(address) => search.file(address),
        Named::Revision(store, revision) => {
            let done = search.revision(store, revision);
            search.note(&format!("{store}{WITHIN}{revision}"), done);
        }
        Named::All(address) => {
            let done = search.all(address);
            search.note(address, done);
        }
    }
}

impl Search<'_> {
    fn note(&mut self, path: &str, done: Result<(), Failed>) {
        if let Err(Failed(message)) = done {
            let path = path.to_owned();
            (self.found)(Found::Fault(Fault { path, message, damaged: false }));
        }
    }

    /// Finds the weights of one source.
    fn weights(&mut self, shown: &str, path: &str, source: Arc<dyn ReadAt>) -> Result<(), Failed> {
        let weights = Weights::new(Box::new(source.clone()), &OpenOptions::new())?;
        let (len, is_packed) = (source.size()?, weights.packed().is_some());
        let (shown, path) = (shown.to_owned(), path.to_owned());
        (self.found)(Found::Weights(Box::new(Away { shown, path, len, is_packed, source })));
        Ok(())
    }

    fn file(&mut self, address: &str) {
        let opened = open_url(address).map_err(Failed::from);
        let done = opened.and_then(|file| self.weights(address, address, Arc::new(file)));
        self.note(address, done);
    }

    fn all(&mut self, address: &str) -> Result<(), Failed> {
        match Store::open(address)?.repos(None) {
            Ok(repos) => repos.iter().try_for_each(|repo| self.revision(address, &repo.name)),
            Err(StoreError::NoStore(_)) => self.bucket(address),
            Err(error) => Err(error.into()),
        }
    }

    fn bucket(&mut self, address: &str) -> Result<(), Failed> {
        let address = address.trim_end_matches('/');
        for meta in Objects::open(address)?.list("")? {
            if self.progress.cancelled() {
                break;
            }
            match meta.key.ends_with(".safetensors") {
                true => self.file(&format!("{address}/{}", meta.key)),
                false => (self.found)(Found::Other(meta.len)),
            }
        }
        Ok(())
    }

    /// Finds the files of a revision: the originals, however they are stored.
    fn revision(&mut self, address: &str, revision: &str) -> Result<(), Failed> {
        let store = Store::open(address)?;
        let revision: Revision = revision.parse()?;
        let (namespace, repo) = (&revision.repo.namespace, revision.repo.to_string());
        for (path, file) in store.tree(&revision)?.1.files {
            if self.progress.cancelled() {
                break;
            }
            if file.root.is_none() {
                (self.found)(Found::Other(file.size));
                continue;
            }
            let shown = format!("{address}{WITHIN}{repo}/{path}");
            let original = store.original(namespace, &file).map_err(Failed::from);
            let done = original.and_then(|original| {
                self.weights(&shown, &format!("{repo}/{path}"), Arc::new(original))
            });
            self.note(&shown, done);
        }
        Ok(())
    }
}
