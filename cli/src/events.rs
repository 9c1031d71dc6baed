//! The lines of JSON by which a job tells what it does.

use std::cell::RefCell;
use std::path::Path;

use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::output::{is_stdout, json_line};

/// The events of a job: a line of JSON each, or none without `--json`.
pub(crate) struct Events {
    on: bool,
    /// Whether standard output has the bytes of a file.
    to_stderr: bool,
    /// The first failure to print a line. The job goes on all the same.
    failed: RefCell<Option<Failure>>,
}

#[derive(Serialize)]
struct Event<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    fields: T,
}

/// The line of an error.
#[derive(Serialize)]
struct Problem<'a> {
    path: Option<&'a str>,
    message: &'a str,
}

/// The last line of every job.
#[derive(Serialize)]
struct Summary<T> {
    exit_code: u8,
    #[serde(flatten)]
    fields: T,
}

impl Events {
    /// Makes the events of a job that writes to `output`.
    pub(crate) fn new(json: bool, output: Option<&Path>) -> Self {
        Self { on: json, to_stderr: output.is_some_and(is_stdout), failed: RefCell::new(None) }
    }

    /// Whether the lines take the place of what is printed for people.
    pub(crate) fn on(&self) -> bool {
        self.on
    }

    /// Prints a line of these fields.
    pub(crate) fn print(&self, event: &str, fields: impl Serialize) {
        if !self.on {
            return;
        }
        if let Err(failure) = json_line(&Event { event, fields }, self.to_stderr) {
            self.failed.borrow_mut().get_or_insert(failure);
        }
    }

    /// Prints the line of an error, or of a fault that the job goes on after ("fault").
    pub(crate) fn problem(&self, event: &str, path: Option<&str>, message: &str) {
        self.print(event, Problem { path, message });
    }

    /// Prints the last line, and the error before it that ended the job. Returns the outcome of the
    /// job, or the failure to tell it.
    pub(crate) fn end(self, outcome: Result<()>, fields: impl Serialize) -> Result<()> {
        let exit_code = match &outcome {
            Ok(()) => 0,
            Err(failure) => {
                if let Some(message) = failure.message() {
                    self.problem("error", None, &message);
                }
                failure.exit_code()
            }
        };
        self.print("summary", Summary { exit_code, fields });
        outcome.and_then(|()| self.failed.into_inner().map_or(Ok(()), Err))
    }
}
