//! The ways in which a command fails: their messages, hints and exit codes.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use at1w_container::repository::Fault;
use at1w_container::{Error, FileKind, WrongKind, printable};

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Standard output could not be written to.
    Output(io::Error),
    Container(Error),
    /// A store of repositories failed.
    Store(at1w_registry::Error),
    /// A signature does not fit the public key.
    Signature(String),
    /// A file that was to be verified is another kind of file, or is damaged.
    Refuted(Error),
    /// Files of a repository were reported already.
    Reported(Reported),
    /// Two files differ, and the differences are printed.
    Different,
    /// Two files could not be compared.
    Trouble(Box<Failure>),
    Other(String),
}

/// The worst that was reported of several files; the last variant is the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reported {
    /// Some files are missing, or are not what their names say.
    Incomplete,
    /// Some files could not be read.
    Failed,
    /// Some files are damaged.
    Damaged,
}

impl Failure {
    /// Says on standard error what is wrong and what to do; returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = self.message() {
            report_error(&message);
        }
        if let Some(advice) = self.error().and_then(advice) {
            eprintln!("at1w: hint: {advice}");
        }
        self.code().into()
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Container(error) | Self::Refuted(error) => Some(error),
            Self::Store(at1w_registry::Error::Container(error)) => Some(error),
            Self::Trouble(failure) => failure.error(),
            _ => None,
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Signature(message) | Self::Other(message) => {
                Some(message.clone())
            }
            // The reader of the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => Some(format!("writing to standard output: {error}")),
            Self::Container(error) | Self::Refuted(error) => Some(error.to_string()),
            Self::Store(error) => Some(error.to_string()),
            Self::Trouble(failure) => failure.message(),
            Self::Reported(_) | Self::Different => None,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) | Self::Other(_) | Self::Different => 1,
            Self::Signature(_) | Self::Reported(Reported::Damaged) => 3,
            Self::Reported(Reported::Failed) => 1,
            Self::Reported(Reported::Incomplete) => 5,
            Self::Refuted(error)
                if matches!(error.innermost(), Error::Safetensors(_) | Error::WrongKind(_)) =>
            {
                3
            }
            Self::Refuted(error) => code_of(error),
            Self::Trouble(failure) => match failure.code() {
                code @ (3 | 130) => code,
                _ => 2,
            },
            Self::Container(error) => code_of(error),
            Self::Store(at1w_registry::Error::Container(error)) => code_of(error),
            Self::Store(at1w_registry::Error::Name { .. }) => 2,
            Self::Store(error) if error.is_not_found() => 4,
            Self::Store(error) if error.is_integrity() => 3,
            Self::Store(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().as_deref().unwrap_or_default())
    }
}

fn code_of(error: &Error) -> u8 {
    match error.innermost() {
        Error::NoTensor { .. } | Error::Slice { .. } => 4,
        Error::Cancelled => 130,
        _ if error.is_integrity() => 3,
        _ => 1,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Container(error)
    }
}

impl From<at1w_registry::Error> for Failure {
    fn from(error: at1w_registry::Error) -> Self {
        Self::Store(error)
    }
}

/// Returns what to do about an error, where the message does not say it.
fn advice(error: &Error) -> Option<&'static str> {
    match error.innermost() {
        Error::WrongKind(WrongKind { found: FileKind::Safetensors, .. }) => {
            Some("'at1w pack' makes .at1w files of .safetensors files")
        }
        Error::DamagedTensor { .. } => {
            Some("fetch the file again; 'at1w get' still reads the tensors that are intact")
        }
        Error::Damaged { .. } | Error::Original { .. } => Some("fetch the file again"),
        Error::Exists(_) => Some("--force replaces it; -o names another target"),
        Error::NoTensor { .. } => Some("'at1w ls FILE' lists the tensors"),
        Error::SourceChanged(_) => Some("run the command again when nothing writes to the source"),
        Error::Write(error) if error.kind() == io::ErrorKind::StorageFull => {
            Some("nothing was left behind; free some space, or write elsewhere with -o")
        }
        _ => None,
    }
}

pub(crate) fn report_error(message: &str) {
    eprintln!("at1w: error: {}", printable(message));
}

pub(crate) fn report_warning(message: &str) {
    eprintln!("at1w: warning: {}", printable(message));
}

/// Reports the files that a repository lacks, and those that are not what they should be.
pub(crate) fn report_faults(repository: &Path, faults: &[Fault]) -> Option<Reported> {
    for Fault { path, problem, .. } in faults {
        report_warning(&format!("{}: {problem}", repository.join(path).display()));
    }
    (!faults.is_empty()).then_some(Reported::Incomplete)
}

pub(crate) fn report_note(message: &str) {
    eprintln!("at1w: note: {}", printable(message));
}
