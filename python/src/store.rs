//! A store of model repositories.

use std::path::PathBuf;

use at1w_container::printable;
use at1w_registry::{Error, PullOptions, PushOptions, Revision, ScrubOptions, Store as Registry};
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyOSError, PyRuntimeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{IntegrityError, exception};
use crate::file::{File, parse_digest};
use crate::save::parse_level;
use crate::work::watched_by;

/// A tensor: its name, and its dtype, shape and SHA-256.
type Tensor = (String, (String, Vec<u64>, String));

/// What is wrong, and the revisions that need it.
type Damaged = (String, Vec<String>);

/// A store of model repositories.
#[pyclass(frozen, module = "at1w._at1w")]
pub(crate) struct Store(Registry);

/// Converts an error of a store to an exception.
fn raised(error: Error) -> PyErr {
    let message = printable(&error.to_string()).into_owned();
    match error {
        Error::Container(error) => exception(error),
        error if error.is_integrity() => IntegrityError::new_err(message),
        error if error.is_not_found() => PyFileNotFoundError::new_err(message),
        Error::NoStore(_) => PyFileNotFoundError::new_err(message),
        Error::Exists(_) | Error::NotEmpty(_) => PyFileExistsError::new_err(message),
        Error::Name { .. } => PyValueError::new_err(message),
        Error::Remote(_) | Error::Io { .. } => PyOSError::new_err(message),
        _ => PyRuntimeError::new_err(message),
    }
}

fn parse(text: &str) -> PyResult<Revision> {
    text.parse().map_err(raised)
}

/// Returns `NS/NAME`, or `NS/NAME@REV` where there is a revision.
fn revision(repo: &str, revision: Option<&str>) -> PyResult<Revision> {
    match revision {
        Some(revision) => parse(&format!("{repo}@{revision}")),
        None => parse(repo),
    }
}

#[pymethods]
impl Store {
    #[new]
    fn open(url: &str) -> PyResult<Self> {
        Registry::open(url).map(Self).map_err(raised)
    }

    #[getter]
    fn url(&self) -> &str {
        self.0.address()
    }

    #[pyo3(signature = (source, repo, branch, message, parent, delete, level, bases, callback))]
    #[allow(clippy::too_many_arguments)]
    fn push<'py>(
        &self,
        py: Python<'py>,
        source: PathBuf,
        repo: &str,
        branch: &str,
        message: &str,
        parent: Option<&str>,
        delete: bool,
        level: &str,
        bases: bool,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (repo, level) = (parse(repo)?.repo, parse_level(level)?);
        let work = |watch: &crate::work::Watch| {
            let options = PushOptions::new()
                .branch(branch)
                .message(message)
                .parent(parent)
                .delete(delete)
                .level(level)
                .differences(bases)
                .progress(watch);
            self.0.push(&source, &repo, &options)
        };
        let pushed = watched_by(py, callback.as_ref(), work, raised)?;
        let fields = PyDict::new(py);
        fields.set_item("commit", pushed.commit)?;
        fields.set_item("tree", pushed.tree.to_string())?;
        fields.set_item("new", pushed.new)?;
        fields.set_item("files", pushed.files)?;
        fields.set_item("bytes", pushed.bytes)?;
        fields.set_item("stored_bytes", pushed.stored)?;
        fields.set_item("tensors", pushed.tensors)?;
        fields.set_item("new_tensors", pushed.new_tensors)?;
        fields.set_item("bases_lost", pushed.bases_lost)?;
        fields.set_item("faults", pushed.faults)?;
        Ok(fields)
    }

    #[pyo3(signature = (repo, target, revision_, packed, root, callback))]
    #[allow(clippy::too_many_arguments)]
    fn pull(
        &self,
        py: Python<'_>,
        repo: &str,
        target: PathBuf,
        revision_: Option<&str>,
        packed: bool,
        root: Option<&str>,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let revision = revision(repo, revision_)?;
        let root = root.map(parse_digest).transpose()?;
        let work = |watch: &crate::work::Watch| {
            let options = PullOptions::new().packed(packed).root(root).progress(watch);
            self.0.pull(&revision, &target, &options)
        };
        Ok(watched_by(py, callback.as_ref(), work, raised)?.commit)
    }

    /// Opens a file of weights of a revision.
    fn file(
        &self,
        py: Python<'_>,
        repo: &str,
        path: &str,
        revision_: Option<&str>,
    ) -> PyResult<File> {
        let revision = revision(repo, revision_)?;
        py.detach(|| {
            let (source, options) = self.0.open_source(&revision, path)?;
            let label = PathBuf::from(format!("{}#{revision}/{path}", self.0.address()));
            File::of_store(source, &options, label).map_err(Error::from)
        })
        .map_err(raised)
    }

    /// Returns the name, commit, files and bytes of each repository.
    fn repos(
        &self,
        py: Python<'_>,
        namespace: Option<&str>,
    ) -> PyResult<Vec<(String, String, u64, u64)>> {
        let repos = py.detach(|| self.0.repos(namespace)).map_err(raised)?;
        let head = |entry: at1w_registry::Entry| {
            let main = entry.branches.get(at1w_registry::MAIN);
            let head = main.or_else(|| entry.branches.values().next())?;
            Some((entry.name.clone(), head.commit.clone(), head.files, head.bytes))
        };
        Ok(repos.into_iter().filter_map(head).collect())
    }

    /// Returns the commits that lead to a revision, the last one first.
    fn log<'py>(
        &self,
        py: Python<'py>,
        repo: &str,
        revision_: Option<&str>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let revision = revision(repo, revision_)?;
        let (_, commits) = py.detach(|| self.0.history(&revision)).map_err(raised)?;
        let fields = |commit: at1w_registry::Commit| {
            let fields = PyDict::new(py);
            fields.set_item("id", commit.id)?;
            fields.set_item("parent", commit.parent)?;
            fields.set_item("message", commit.message)?;
            fields.set_item("time", commit.time)?;
            fields.set_item("author", commit.author)?;
            fields.set_item("tree", commit.tree.to_string())?;
            fields.set_item("files", commit.files)?;
            fields.set_item("bytes", commit.bytes)?;
            fields.set_item("stored_bytes", commit.stored)?;
            Ok(fields)
        };
        commits.into_iter().map(fields).collect()
    }

    /// Returns dtype, shape and SHA-256 of each tensor of a revision, and of its other files.
    fn tensors(
        &self,
        py: Python<'_>,
        repo: &str,
        revision_: Option<&str>,
    ) -> PyResult<Vec<Tensor>> {
        let revision = revision(repo, revision_)?;
        let tensors = py.detach(|| self.0.tensors(&revision)).map_err(raised)?;
        let entry = |(name, entry): (String, at1w_registry::TensorEntry)| {
            (name, (entry.dtype, entry.shape, entry.digest.to_string()))
        };
        Ok(tensors.into_iter().map(entry).collect())
    }

    /// Reads and proves what is in use; returns the bytes read, and the revisions that need what is
    /// damaged.
    fn scrub(
        &self,
        py: Python<'_>,
        repo: Option<&str>,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<(u64, Vec<Damaged>)> {
        let repo = repo.map(parse).transpose()?.map(|revision| revision.repo);
        let work = |watch: &crate::work::Watch| {
            self.0.scrub(&ScrubOptions::new().repo(repo.as_ref()).progress(watch))
        };
        let done = watched_by(py, callback.as_ref(), work, raised)?;
        let damaged = done.damaged.into_iter().map(|damage| (damage.problem, damage.revisions));
        Ok((done.bytes, damaged.collect()))
    }

    /// Stores a repository at another level, or its later revisions as differences; returns the
    /// bytes before and after.
    fn repack(
        &self,
        py: Python<'_>,
        repo: &str,
        level: &str,
        bases: bool,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<(u64, u64)> {
        let (repo, level) = (parse(repo)?.repo, parse_level(level)?);
        let work = |watch: &crate::work::Watch| {
            let done = match bases {
                true => self.0.rebase(&repo.namespace, Some(&repo), level, watch)?,
                false => self.0.repack(&repo.namespace, Some(&repo), level, watch)?,
            };
            // All others are stored by now.
            match done.damaged.into_iter().next() {
                Some((_, error)) => Err(error),
                None => Ok((done.before, done.after)),
            }
        };
        watched_by(py, callback.as_ref(), work, raised)
    }
}
