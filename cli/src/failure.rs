//! The ways in which a command fails: their messages, hints and exit codes.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use at1w_container::repository::Fault;
use at1w_container::{Error, FileKind, WrongKind, printable};

use crate::signals::{self, NoHandler};

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Standard output could not be written to.
    Output(io::Error),
    Container(Error),
    /// A store of repositories failed.
    Store(at1w_registry::Error),
    /// What lies at an address could not be opened.
    Remote(at1w_remote::Error),
    /// A signature does not fit the public key.
    Signature(String),
    /// A file that was to be verified is another kind of file, or is damaged.
    Refuted(Error),
    /// Files of a repository were reported already.
    Reported(Reported),
    /// A tensor was not found, and files that may hold it were reported.
    Hidden(Error, Reported),
    /// No tensor matches these patterns.
    NoMatch(Vec<String>),
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

impl Reported {
    fn code(self) -> u8 {
        match self {
            Self::Incomplete => 5,
            Self::Failed => 1,
            Self::Damaged => 3,
        }
    }

    /// Judges the error of one file of several. One that a manifest pins cannot be left out.
    fn of(error: &Error, pinned: bool) -> Self {
        match error.innermost() {
            _ if error.is_integrity() => Self::Damaged,
            Error::Io { .. } | Error::Safetensors(_) | Error::WrongKind(_) if !pinned => {
                Self::Incomplete
            }
            _ => Self::Failed,
        }
    }
}

impl Failure {
    /// Says on standard error what is wrong and what to do; returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        report_failure(&self);
        self.exit_code().into()
    }

    /// Judges the failure as that of one file of several.
    pub(crate) fn reported(&self) -> Reported {
        match self.code() {
            3 => Reported::Damaged,
            5 => Reported::Incomplete,
            _ => Reported::Failed,
        }
    }

    /// Whether a signal ended the work.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.error().is_some_and(|error| matches!(error.innermost(), Error::Cancelled))
    }

    /// Whether the fault is that of a base, and not of the file that was read.
    pub(crate) fn is_of_base(&self) -> bool {
        self.error().is_some_and(Error::is_of_base)
    }

    /// Returns the exit code. A signal goes before every failure: it may have been the cause.
    pub(crate) fn exit_code(&self) -> u8 {
        signals::exit_code().unwrap_or_else(|| self.code())
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Container(error) | Self::Refuted(error) | Self::Hidden(error, _) => Some(error),
            Self::Store(at1w_registry::Error::Container(error)) => Some(error),
            Self::Trouble(failure) => failure.error(),
            _ => None,
        }
    }

    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Signature(message) | Self::Other(message) => {
                Some(message.clone())
            }
            // The reader of the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => Some(format!("writing to standard output: {error}")),
            Self::Container(error) | Self::Refuted(error) | Self::Hidden(error, _) => {
                Some(error.to_string())
            }
            Self::Store(error) => Some(error.to_string()),
            Self::Remote(error) => Some(error.to_string()),
            Self::Trouble(failure) => failure.message(),
            Self::NoMatch(patterns) => {
                let is_file = patterns.iter().any(|pattern| Path::new(pattern).exists());
                let one = if is_file { ": ls lists one file or directory at a time" } else { "" };
                Some(format!("no tensor matches {}{one}", patterns.join(", ")))
            }
            Self::Reported(_) | Self::Different => None,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NoMatch(_) => 4,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) | Self::Other(_) | Self::Different => 1,
            Self::Signature(_) => 3,
            Self::Reported(reported) | Self::Hidden(_, reported) => reported.code(),
            Self::Refuted(error)
                if matches!(error.innermost(), Error::Safetensors(_) | Error::WrongKind(_)) =>
            {
                3
            }
            Self::Refuted(error) => code_of(error),
            Self::Trouble(failure) => match failure.code() {
                code @ (3 | INTERRUPTED) => code,
                _ => 2,
            },
            Self::Container(error) => code_of(error),
            Self::Store(at1w_registry::Error::Container(error)) => code_of(error),
            Self::Store(at1w_registry::Error::Name { .. }) => 2,
            Self::Store(error) if error.is_not_found() => 4,
            Self::Store(error) if error.is_integrity() => 3,
            Self::Store(_) => 1,
            Self::Remote(at1w_remote::Error::Address { .. }) => 2,
            Self::Remote(at1w_remote::Error::Answer { status: 404, .. }) => 4,
            Self::Remote(at1w_remote::Error::Cancelled) => INTERRUPTED,
            Self::Remote(_) => 1,
        }
    }
}

/// The exit code of work that was cancelled, where no signal says more.
const INTERRUPTED: u8 = 130;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().as_deref().unwrap_or_default())
    }
}

fn code_of(error: &Error) -> u8 {
    match error.innermost() {
        Error::NoTensor { .. } | Error::Slice { .. } => 4,
        Error::Cancelled => INTERRUPTED,
        _ if error.is_integrity() => 3,
        _ => 1,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Container(error)
    }
}

impl From<NoHandler> for Failure {
    fn from(error: NoHandler) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<at1w_remote::Error> for Failure {
    fn from(error: at1w_remote::Error) -> Self {
        Self::Remote(error)
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
        Error::Exists(_) => {
            Some("--force replaces it; --update packs what has changed; -o names another target")
        }
        Error::NothingLeft(_) => Some("--yes removes everything all the same"),
        Error::NoBase(_) => Some(
            "put its file beside this one, or name its directory by --bases or AT1W_BASES; \
             the root tells whether it is the right one",
        ),
        Error::BaseDepth { .. } => {
            Some("'at1w rebase FILE --alone' lets the base stand alone; --max-depth allows more")
        }
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

/// Says on standard error what is wrong and what to do.
pub(crate) fn report_failure(failure: &Failure) {
    if let Some(message) = failure.message() {
        report_error(&message);
    }
    if let Some(advice) = failure.error().and_then(advice) {
        eprintln!("at1w: hint: {advice}");
    }
}

/// Reports a file that a repository lacks, or that is not what it should be.
pub(crate) fn report_fault(repository: &Path, Fault { path, problem, .. }: &Fault) {
    report_warning(&format!("{}: {problem}", repository.join(path).display()));
}

/// Returns the file that an error is about.
pub(crate) fn path_of(error: &Error) -> Option<&Path> {
    match error {
        Error::Io { path, .. } | Error::InFile { path, .. } => Some(path),
        _ => None,
    }
}

/// Reports the error of one file of several, after which the work goes on; returns how bad it is.
pub(crate) fn report_file(error: &Error, pinned: bool) -> Reported {
    let reported = Reported::of(error, pinned);
    match reported {
        Reported::Incomplete => report_warning(&error.to_string()),
        Reported::Failed | Reported::Damaged => report_error(&error.to_string()),
    }
    reported
}

pub(crate) fn report_note(message: &str) {
    eprintln!("at1w: note: {}", printable(message));
}
