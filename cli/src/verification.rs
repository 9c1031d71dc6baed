//! The outcome of verifying files: what is printed of each, and the counts of all.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use at1w_container::{Digest, Error, Progress};
use serde::Serialize;

use crate::events::Events;
use crate::failure::{Failure, Reported, Result, report_failure, report_file};
use crate::output::{printable, to_stdout};
use crate::progress::Bar;

/// A verification under way.
pub(crate) struct Verification {
    quiet: bool,
    events: Events,
    done: Done,
    worst: Option<Reported>,
    /// The first failure to print. Faults count even if nobody reads the other lines.
    printed: Result<()>,
}

/// The counts of the summary.
#[derive(Default, Serialize)]
struct Done {
    /// The files that are as they should be.
    ok: u64,
    damaged: u64,
    failed: u64,
    faults: u64,
    bytes: u64,
    seconds: f64,
}

/// The line of a file that is as it should be.
#[derive(Serialize)]
struct FileLine {
    path: String,
    root: Option<String>,
    /// How the bytes are known to be right: "root", "sha256", "manifest", or nothing pins them.
    pinned_by: Option<&'static str>,
}

impl Verification {
    pub(crate) fn new(quiet: bool, json: bool) -> Self {
        Self {
            quiet,
            events: Events::new(json, None),
            done: Done::default(),
            worst: None,
            printed: Ok(()),
        }
    }

    /// Whether anything was reported of a file.
    pub(crate) fn any_reported(&self) -> bool {
        self.worst.is_some()
    }

    /// Adds what was read, and how long it took.
    pub(crate) fn took(&mut self, bytes: u64, elapsed: Duration) {
        self.done.bytes = bytes;
        self.done.seconds = elapsed.as_secs_f64();
    }

    /// Ends the verification: returns its own failure, or the worst that was reported of a file.
    pub(crate) fn end(self, outcome: Result<()>) -> Result<()> {
        let Self { events, done, worst, printed, .. } = self;
        let outcome = outcome.and(worst.map_or(printed, |worst| Err(Failure::Reported(worst))));
        events.end(outcome, done)
    }

    /// Counts a file that is as it should be, with its root, or a SHA-256 that was expected.
    pub(crate) fn succeed(&mut self, path: &Path, root: Option<Digest>, sha256: bool, bar: &Bar) {
        let root = root.map(|root| root.to_string());
        let (shown, pinned_by) = match &root {
            Some(root) => (root.as_str(), Some("root")),
            None if sha256 => ("(SHA-256 as expected)", Some("sha256")),
            None => ("(well formed; nothing pins its bytes)", None),
        };
        self.ok(path, shown, pinned_by, bar);
    }

    /// Counts a file that a repository carries over.
    pub(crate) fn carried(&mut self, path: &Path, bar: &Bar) {
        self.ok(path, "(carried over)", Some("manifest"), bar);
    }

    fn ok(&mut self, path: &Path, shown: &str, pinned_by: Option<&'static str>, bar: &Bar) {
        self.done.ok += 1;
        let (path, root) = (path.display().to_string(), pinned_by == Some("root"));
        let root = root.then(|| shown.to_owned());
        if self.events.on() {
            self.events.print("file", FileLine { path, root, pinned_by });
        } else if !self.quiet && self.printed.is_ok() {
            let line = format!("ok {shown:<64}  {}", printable(&path));
            self.printed = bar.suspend(|| to_stdout(|out| writeln!(out, "{line}")));
        }
    }

    /// Reports the error of a file, which a manifest may pin, and goes on.
    pub(crate) fn refuse(&mut self, path: &Path, error: &Error, pinned: bool, bar: &Bar) {
        let reported = bar.suspend(|| report_file(error, pinned));
        self.count(path, reported, &error.to_string());
    }

    /// Reports a file that is missing, or is not what its name says.
    pub(crate) fn fault(&mut self, path: &Path, problem: &str, bar: &Bar) {
        bar.warn(&format!("{}: {problem}", path.display()));
        self.count(path, Reported::Incomplete, problem);
    }

    /// Reports the failure of one of several files on the command line, and goes on.
    pub(crate) fn fail(&mut self, path: &Path, failure: Failure, bar: &Bar) {
        bar.suspend(|| report_failure(&failure));
        self.count(path, failure.reported(), &failure.message().unwrap_or_default());
    }

    fn count(&mut self, path: &Path, reported: Reported, message: &str) {
        let (event, count) = match reported {
            Reported::Damaged => ("damaged", &mut self.done.damaged),
            Reported::Failed => ("failed", &mut self.done.failed),
            Reported::Incomplete => ("fault", &mut self.done.faults),
        };
        *count += 1;
        self.worst = self.worst.max(Some(reported));
        self.events.problem(event, Some(&path.display().to_string()), message);
    }
}
