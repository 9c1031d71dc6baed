//! Packing, unpacking and verifying files and repositories.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use at1w_container::repository::{self, Fault, FileCheck};
use at1w_container::{
    OpenOptions, PackOptions, Progress, Reader, Summary, UnpackOptions, Weights, pack_file,
    printable, unpack_file,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::bases::{folders_of, open_bases};
use crate::errors::exception;
use crate::file::parse_digest;
use crate::remote;
use crate::save::parse_level;
use crate::work::{Watch, watched, watched_by};

/// A packed file: its path, its root, the size of the original and its own size, in bytes. The path
/// is relative to the packed repository, or as it was given.
type Packed = (String, String, u64, u64);

/// The root of each packed file by its path; `None` for a safetensors file.
type Roots = Vec<(String, Option<String>)>;

fn packed(path: String, summary: &Summary) -> Packed {
    (path, summary.root.to_string(), summary.original_len, summary.packed_len)
}

fn all_packed(summary: repository::Summary) -> (Vec<Packed>, Vec<String>) {
    let files = summary.packed.into_iter().map(|file| packed(file.packed_path, &file.summary));
    (files.collect(), messages(&summary.faults))
}

/// Returns the faults of a repository as messages.
fn messages(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| printable(&fault.to_string()).into_owned()).collect()
}

/// Returns whether the file at a path begins like a packed file.
#[pyfunction]
pub(crate) fn is_packed(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    py.detach(|| at1w_container::is_packed(&path)).map_err(exception)
}

/// Returns whether these bytes begin like a packed file.
#[pyfunction]
pub(crate) fn begins_packed(bytes: &[u8]) -> bool {
    at1w_container::begins_packed(bytes)
}

/// Packs a file or a directory. `keep_names` and `strict` are for directories. Returns the packed
/// files and the faults of a repository.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "called by one function, which names them")]
pub(crate) fn pack(
    py: Python<'_>,
    source: PathBuf,
    target: PathBuf,
    level: &str,
    keep_names: bool,
    overwrite: bool,
    strict: bool,
    progress: Option<Py<PyAny>>,
    bases: Vec<PathBuf>,
) -> PyResult<(Vec<Packed>, Vec<String>)> {
    let level = parse_level(level)?;
    watched(py, progress.as_ref(), |watch| {
        if source.is_dir() {
            let options = repository::Options::new()
                .overwrite(overwrite)
                .keep_names(keep_names)
                .strict(strict)
                .level(level)
                .progress(watch);
            return repository::pack(&source, &target, &options).map(all_packed);
        }
        watch.begin(file_len(&source));
        let bases = open_bases(bases)?;
        let options = PackOptions::new().overwrite(overwrite).level(level).progress(watch);
        let options = options.bases(&bases);
        let summary = pack_file(&source, &target, &options)?;
        Ok((vec![packed(target.display().to_string(), &summary)], Vec::new()))
    })
}

/// Restores a packed file or a packed repository.
#[pyfunction]
pub(crate) fn unpack(
    py: Python<'_>,
    source: PathBuf,
    target: PathBuf,
    overwrite: bool,
    progress: Option<Py<PyAny>>,
    bases: Vec<PathBuf>,
) -> PyResult<()> {
    watched(py, progress.as_ref(), |watch| {
        if source.is_dir() {
            let options = repository::Options::new().overwrite(overwrite).progress(watch);
            return repository::unpack(&source, &target, &options).map(drop);
        }
        watch.begin(Reader::open(&source)?.info().original_len);
        let bases = folders_of(bases, Some(&source));
        let options = UnpackOptions::new().overwrite(overwrite).progress(watch).bases(&bases);
        unpack_file(&source, &target, &options).map(drop)
    })
}

/// Verifies a file or a packed repository. Returns the root of each packed file by its path, and
/// the faults of a repository.
#[pyfunction]
pub(crate) fn verify(
    py: Python<'_>,
    path: PathBuf,
    root: Option<&str>,
    sha256: Option<&str>,
    original: bool,
    progress: Option<Py<PyAny>>,
    bases: Vec<PathBuf>,
) -> PyResult<(Roots, Vec<String>)> {
    let (root, sha256) =
        (root.map(parse_digest).transpose()?, sha256.map(parse_digest).transpose()?);
    if (root.is_some() || sha256.is_some()) && path.is_dir() {
        let problem =
            "root and sha256 are for one file: the digests of a repository are in its manifest";
        return Err(PyValueError::new_err(problem));
    }
    let work = |watch: &Watch| {
        if path.is_dir() {
            let check = repository::verify(&path, original, watch)?;
            let root = |FileCheck { path, outcome, .. }: FileCheck| {
                outcome.map(|root| Some((path, Some(root?.to_string())))).transpose()
            };
            let roots: Result<_, _> = check.files.into_iter().filter_map(root).collect();
            return Ok((roots?, messages(&check.faults)));
        }
        let options = OpenOptions::new().root(root);
        let weights = match remote::address(&path) {
            // What the server has, not a copy of it.
            Some(address) => {
                remote::open(address, root, (None, false), watch, |source| source)?.weights
            }
            None => {
                let finder = Arc::new(folders_of(bases, Some(&path)));
                Weights::open(&path, &options)?.with_bases(finder)
            }
        };
        watch.begin(weights.original_len());
        let verified = match (sha256, weights.packed()) {
            (Some(sha256), _) => weights.verify_sha256(sha256, watch),
            (None, Some(reader)) if original => reader.verify_original(watch),
            (None, Some(reader)) => reader.verify(watch),
            (None, None) => Ok(()),
        };
        verified.map_err(|error| error.in_file(&path))?;
        let root = weights.root().map(|root| root.to_string());
        Ok((vec![(path.display().to_string(), root)], Vec::new()))
    };
    watched_by(py, progress.as_ref(), work, remote::raised)
}

/// Returns the length of a file, or 0. It only tells progress how much there is to do.
fn file_len(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}
