//! What a command ends with when it does not succeed, and the exit code of that.

use std::io;
use std::process::ExitCode;

use at1w_container::Error;

use crate::output::printable;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

pub(crate) enum Failure {
    /// The command line asks for what makes no sense.
    Usage(String),
    /// Standard output could not be written to.
    Output(io::Error),
    Container(Error),
    /// A signature is not the one that the public key stands for.
    Signature(String),
    /// Several files failed, and were reported already.
    Reported {
        integrity: bool,
    },
    Other(String),
}

impl Failure {
    /// Says what is wrong on standard error, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = self.message() {
            report_error(&message);
        }
        if let Self::Container(error) = &self
            && let Some(advice) = advice(error)
        {
            eprintln!("at1w: hint: {advice}");
        }
        self.code().into()
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Signature(message) | Self::Other(message) => {
                Some(message.clone())
            }
            // Whoever reads the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => Some(format!("writing to standard output: {error}")),
            Self::Container(error) => Some(error.to_string()),
            Self::Reported { .. } => None,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) | Self::Other(_) => 1,
            Self::Signature(_) | Self::Reported { integrity: true } => 3,
            Self::Reported { integrity: false } => 1,
            Self::Container(error) => match error.innermost() {
                Error::NoTensor { .. } | Error::Slice { .. } => 4,
                Error::Cancelled => 130,
                _ if error.is_integrity() => 3,
                _ => 1,
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Container(error)
    }
}

/// What to do about an error, where that is not plain.
fn advice(error: &Error) -> Option<&'static str> {
    match error.innermost() {
        Error::NotAt1w(_) => Some("'at1w pack' makes .at1w files of .safetensors files"),
        Error::DamagedTensor { .. } => {
            Some("fetch the file again; 'at1w get' still reads the tensors that are intact")
        }
        Error::Damaged { .. } | Error::Original { .. } => Some("fetch the file again"),
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

pub(crate) fn report_note(message: &str) {
    eprintln!("at1w: note: {}", printable(message));
}
