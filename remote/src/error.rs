//! The error of this crate.

use std::io;
use std::time::Duration;

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
    /// The server sends no ranges, only the whole file.
    #[error("{0}: the server sends no ranges of the file, only all of it: download it first")]
    NoRanges(String),
    /// The server sends more than was asked for.
    #[error("{object}: more than the {asked} bytes came that were asked for")]
    Long {
        /// The object.
        object: String,
        /// The number of bytes that were asked for.
        asked: u64,
    },
    /// The server asks to wait for longer than anybody should.
    #[error("{object}: the server answers {status}{}: try again later", after(*.wait))]
    Busy {
        /// The object.
        object: String,
        /// The status of the last answer.
        status: u16,
        /// The time that the server asks to wait for.
        wait: Option<Duration>,
    },
    /// The server sent nothing for too long, or was not done in time.
    #[error("{0}: the server did not answer in time")]
    TimedOut(String),
    /// Somebody gave up waiting.
    #[error("interrupted")]
    Cancelled,
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
    /// A hub refuses what it was asked for.
    #[error("{object}: {message}")]
    Answer {
        /// The hub.
        object: String,
        /// The status of its answer.
        status: u16,
        /// The code by which clients know the kind of refusal; empty where there is none.
        code: String,
        /// The message.
        message: String,
    },
    /// Any other failure, after retries.
    #[error("{object}: {cause}")]
    Failed {
        /// The object.
        object: String,
        /// The answer of the store or of the network.
        cause: String,
    },
    /// The threads that send requests, or their client, could not be started.
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

    /// Returns the kind of the error for callers that know only errors of files.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NotFound(_) => io::ErrorKind::NotFound,
            Self::Short { .. } => io::ErrorKind::UnexpectedEof,
            Self::Refused { .. } => io::ErrorKind::PermissionDenied,
            Self::TimedOut(_) => io::ErrorKind::TimedOut,
            Self::Cancelled => io::ErrorKind::Interrupted,
            _ => io::ErrorKind::Other,
        }
    }

    /// Whether another request of another kind would be answered no better.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_)
                | Self::Refused { .. }
                | Self::Busy { .. }
                | Self::TimedOut(_)
                | Self::Cancelled
                | Self::Threads(_)
        )
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// Returns the message of an error with those of its causes that it does not repeat.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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

fn after(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!(", and asks to wait {} s", wait.as_secs()))
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}
