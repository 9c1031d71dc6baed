//! Errors as Python exceptions.

use std::io;

use at1w_container::{Error, printable};
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyKeyboardInterrupt, PyMemoryError, PyOSError,
};
use pyo3::prelude::*;

pyo3::import_exception!(at1w._errors, SafetensorError);
pyo3::import_exception!(at1w._errors, IntegrityError);

/// Converts an error to an exception: an `OSError` where the operating system refused, a
/// `SafetensorError` where something is wrong with a file.
pub(crate) fn exception(error: Error) -> PyErr {
    let message = printable(&error.to_string()).into_owned();
    match error.innermost() {
        Error::Io { path, cause } => match cause.kind() {
            io::ErrorKind::NotFound => PyFileNotFoundError::new_err(format!(
                "No such file or directory: {}",
                printable(&path.display().to_string())
            )),
            kind => io::Error::new(kind, message).into(),
        },
        Error::NoFolder(_) => PyFileNotFoundError::new_err(message),
        Error::NoBase { .. } => PyFileNotFoundError::new_err(format!(
            "{message}: bases= and AT1W_BASES name folders with more files"
        )),
        Error::Exists(path) => PyFileExistsError::new_err(format!(
            "{} exists already: overwrite=True replaces it",
            printable(&path.display().to_string())
        )),
        Error::Read { cause, .. } if cause.kind() == io::ErrorKind::Interrupted => {
            PyKeyboardInterrupt::new_err(())
        }
        Error::Read { cause, .. } => of_kind(cause.kind(), message),
        Error::Write(_) | Error::Threads(_) => PyOSError::new_err(message),
        Error::Memory { .. } => PyMemoryError::new_err(message),
        Error::Cancelled => PyKeyboardInterrupt::new_err(()),
        Error::NoTensor { name, .. } => {
            let unknown = format!("no tensor {name:?}");
            let known = format!("File does not contain tensor {}", printable(name));
            SafetensorError::new_err(message.replacen(&unknown, &known, 1))
        }
        error if error.is_integrity() => IntegrityError::new_err(message),
        _ => SafetensorError::new_err(message),
    }
}

/// Returns the exception for a kind of error of the operating system.
pub(crate) fn of_kind(kind: io::ErrorKind, message: String) -> PyErr {
    match kind {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => PyOSError::new_err(message),
        kind => io::Error::new(kind, message).into(),
    }
}

/// Puts a place in front of the message of a framework's exception.
pub(crate) fn located(py: Python<'_>, error: PyErr, place: &str) -> PyErr {
    let located = py
        .import("at1w._errors")
        .and_then(|errors| errors.call_method1("located", (error.value(py), place)));
    located.map_or_else(|failure| failure, PyErr::from_value)
}
