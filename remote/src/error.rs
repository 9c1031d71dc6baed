//! The error of this crate.

use std::io;

use thiserror::Error;

/// An error of an object store: what is wrong, with which object, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The address names no store or object that can be opened.
    #[error("{address}: {problem}")]
    Address {
        /// The address.
        address: String,
        /// The problem with it.
        problem: String,
    },
    /// There is no such object.
    #[error("{0}: there is no such object")]
    NotFound(String),
    /// The object was replaced while it was read.
    #[error("{0}: the object was replaced while it was read: open it again")]
    Replaced(String),
    /// The object is shorter than what was asked for.
    #[error("{object}: {came} bytes came where {asked} were asked for")]
    Short {
        /// The object.
        object: String,
        /// The number of bytes that came.
        came: u64,
        /// The number of bytes that were asked for.
        asked: u64,
    },
    /// The store refuses these credentials, or there are none.
    #[error("{object}: the store refuses access ({credentials}): {cause}")]
    Refused {
        /// The object.
        object: String,
        /// The credentials that were used, and where they came from.
        credentials: String,
        /// The answer of the store.
        cause: String,
    },
    /// Any other failure, after retries.
    #[error("{object}: {cause}")]
    Failed {
        /// The object.
        object: String,
        /// The answer of the store or of the network.
        cause: String,
    },
    /// The threads that send requests could not be started.
    #[error("no thread could be started: {0}")]
    Threads(io::Error),
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The answers that refuse credentials, as `object_store` writes them.
const REFUSALS: [&str; 2] = ["status code: 401", "status code: 403"];

/// The address at which machines of clouds tell their credentials.
const MACHINE: &str = "169.254.169.254";

impl Error {
    /// Makes the error for an object, with where the credentials of its store come from.
    pub(crate) fn of(object: &str, credentials: &str, error: object_store::Error) -> Self {
        let object = object.to_owned();
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound(object),
            object_store::Error::Precondition { .. } | object_store::Error::NotModified { .. } => {
                Self::Replaced(object)
            }
            object_store::Error::PermissionDenied { source, .. }
            | object_store::Error::Unauthenticated { source, .. }
                if !credentials.is_empty() =>
            {
                Self::Refused { object, credentials: credentials.into(), cause: chain(&*source) }
            }
            // Lists tell no kind of error.
            object_store::Error::Generic { source, .. }
                if !credentials.is_empty()
                    && REFUSALS.iter().any(|status| chain(&*source).contains(status)) =>
            {
                Self::Refused { object, credentials: credentials.into(), cause: chain(&*source) }
            }
            // The machine was asked for credentials, and has none.
            object_store::Error::Generic { source, .. }
                if credentials.starts_with("none found") && chain(&*source).contains(MACHINE) =>
            {
                Self::Refused { object, credentials: credentials.into(), cause: chain(&*source) }
            }
            error => Self::Failed { object, cause: chain(&error) },
        }
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// Returns the message of an error with those of its causes that it does not repeat.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !message.contains(&next) {
            message = format!("{message}: {next}");
        }
        cause = error.source();
    }
    message
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NotFound(_) => io::ErrorKind::NotFound,
            Error::Short { .. } => io::ErrorKind::UnexpectedEof,
            Error::Refused { .. } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
