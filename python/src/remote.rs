//! Files by their addresses.

use std::path::Path;

use at1w_container::{Digest, Error, OpenOptions, Progress, ReadAt, printable};
use at1w_remote::{
    Cache, OpenError, RemoteWeights, UrlOptions, is_remote, open_url_with, open_weights,
};
use pyo3::exceptions::{PyFileNotFoundError, PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{exception, of_kind};
use crate::work::{Watch, watched_by};

/// Returns the address that stands in the place of a path.
pub(crate) fn address(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| is_remote(text))
}

/// Opens the weights at an address, around whose source `wrap` puts another. It is given up when
/// the work is interrupted. A copy in `cache` is read instead; one is made if `keep` says that all
/// of the file will be read.
pub(crate) fn open(
    address: &str,
    root: Option<Digest>,
    (cache, keep): (Option<Cache>, bool),
    watch: &Watch,
    wrap: impl Fn(Box<dyn ReadAt>) -> Box<dyn ReadAt>,
) -> Result<RemoteWeights, OpenError> {
    let url = UrlOptions::new().packed(true).cache(cache, keep);
    let url = url.cancelled(watch.question());
    let opened = open_weights(address, &OpenOptions::new().root(root), &url, wrap)?;
    if opened.is_downloaded {
        watch.warn(&format!("{address}: all of it was downloaded: its server sends no ranges"));
    }
    Ok(opened)
}

/// Converts a failure to an exception.
pub(crate) fn raised(failed: OpenError) -> PyErr {
    let error = match failed {
        OpenError::Remote(error) => error,
        OpenError::Container(error) => return exception(error),
        error => return PyOSError::new_err(error.to_string()),
    };
    let message = printable(&error.to_string()).into_owned();
    match error {
        at1w_remote::Error::NotFound(_) => PyFileNotFoundError::new_err(message),
        at1w_remote::Error::Address { .. } => PyValueError::new_err(message),
        at1w_remote::Error::Cancelled => PyKeyboardInterrupt::new_err(()),
        at1w_remote::Error::Threads(_) => PyOSError::new_err(message),
        error => of_kind(std::io::Error::from(error).kind(), message),
    }
}

/// Returns whether a text is an address that this package opens itself.
#[pyfunction]
pub(crate) fn is_url(text: &str) -> bool {
    is_remote(text)
}

/// Reads all of a small file at an address. One of more than `limit` bytes is refused.
#[pyfunction]
pub(crate) fn fetch<'py>(
    py: Python<'py>,
    address: &str,
    limit: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = watched_by(py, None, |watch| read(address, limit, watch), raised)?;
    Ok(PyBytes::new(py, &bytes))
}

fn read(address: &str, limit: u64, watch: &Watch) -> Result<Vec<u8>, OpenError> {
    let file = open_url_with(address, &UrlOptions::new().cancelled(watch.question()))?;
    let failed = |cause| Error::Read { offset: 0, cause }.in_file(Path::new(address));
    let len = file.size().map_err(failed)?;
    if len > limit {
        return Err(Error::Limit { what: address.into(), size: len, limit }.into());
    }
    Ok(file.read_at(0..len).map_err(failed)?.into_owned())
}
