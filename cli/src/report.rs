//! What packing and unpacking report: lines for people, or events for programs.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use at1w_container::repository::{Fault, LeftOut};
use at1w_container::{Error, Estimate, Summary};
use serde::Serialize;

use crate::Global;
use crate::events::Events;
use crate::failure::{Failure, Reported, Result, report_failure, report_fault, report_note};
use crate::figures::Figures;
use crate::output::{is_stdout, percent, print_beside, printable};

/// The number of paths that are listed of those that were left out.
const LISTED: usize = 5;

/// The report of a job on several sources.
pub(crate) struct Report<'a> {
    quiet: bool,
    figures: Figures,
    /// Where the bytes go; if that is standard output, lines go to standard error.
    output: Option<&'a Path>,
    events: Events,
    totals: Totals,
    worst: Option<Reported>,
    /// The first failure to print. The work goes on all the same.
    printed: Result<()>,
}

/// The counts of the summary.
#[derive(Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) packed: u64,
    pub(crate) unpacked: u64,
    pub(crate) carried: u64,
    pub(crate) unchanged: u64,
    pub(crate) links: u64,
    pub(crate) left_out: u64,
    pub(crate) removed: u64,
    /// The files that stay, though their sources are gone.
    pub(crate) gone: u64,
    pub(crate) faults: u64,
    pub(crate) original_bytes: u64,
    pub(crate) packed_bytes: u64,
    pub(crate) seconds: f64,
}

#[derive(Serialize)]
struct FileLine<'a> {
    source: String,
    target: String,
    original_bytes: u64,
    packed_bytes: u64,
    root: String,
    sha256: &'a str,
}

#[derive(Serialize)]
struct EstimateLine {
    source: String,
    original_bytes: u64,
    packed_bytes: u64,
    /// The range that the packed size is in, 19 times out of 20.
    packed_bytes_low: u64,
    packed_bytes_high: u64,
    sampled_bytes: u64,
}

#[derive(Serialize)]
struct PathLine {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        global: &Global,
        figures: Figures,
        json: bool,
        output: Option<&'a Path>,
    ) -> Self {
        let (totals, worst, printed) = (Totals::default(), None, Ok(()));
        let events = Events::new(json, output);
        Self { quiet: global.quiet, figures, output, events, totals, worst, printed }
    }

    /// Adds to the totals.
    pub(crate) fn add(&mut self, totals: Totals) {
        let Totals { original_bytes, packed_bytes, seconds, .. } = totals;
        let sum = &mut self.totals;
        sum.packed += totals.packed;
        sum.unpacked += totals.unpacked;
        sum.carried += totals.carried;
        sum.unchanged += totals.unchanged;
        sum.links += totals.links;
        sum.gone += totals.gone;
        sum.original_bytes = sum.original_bytes.saturating_add(original_bytes);
        sum.packed_bytes = sum.packed_bytes.saturating_add(packed_bytes);
        sum.seconds += seconds;
    }

    /// Tells of a file that was packed.
    pub(crate) fn packed(&mut self, source: &Path, target: &Path, summary: &Summary, rest: &str) {
        let sizes = self.sizes(summary.original_len, summary.packed_len);
        let root = self.figures.digest(&summary.root.to_string());
        let line = format!("{}  {sizes}  root {root}{rest}", between(source, target));
        self.file("packed", source, target, summary, line);
    }

    /// Tells of a file that was restored.
    pub(crate) fn unpacked(&mut self, source: &Path, target: &Path, summary: &Summary, rest: &str) {
        let size = self.figures.size(summary.original_len);
        let digest = self.figures.digest(&summary.original_digest.to_string());
        let line = format!("{}  {size}  SHA-256 {digest}{rest}", between(source, target));
        self.file("unpacked", source, target, summary, line);
    }

    fn file(&mut self, event: &str, from: &Path, to: &Path, summary: &Summary, line: String) {
        if !self.events.on() {
            return self.line(&line);
        }
        let fields = FileLine {
            source: from.display().to_string(),
            target: to.display().to_string(),
            original_bytes: summary.original_len,
            packed_bytes: summary.packed_len,
            root: summary.root.to_string(),
            sha256: &summary.original_digest.to_string(),
        };
        self.events.print(event, fields);
    }

    /// Tells how small a file would be.
    pub(crate) fn estimate(&mut self, source: &Path, estimate: &Estimate) {
        let range = estimate.interval();
        if self.events.on() {
            return self.events.print(
                "estimate",
                EstimateLine {
                    source: source.display().to_string(),
                    original_bytes: estimate.original_len,
                    packed_bytes: estimate.packed_len as u64,
                    packed_bytes_low: range.start,
                    packed_bytes_high: range.end,
                    sampled_bytes: estimate.sampled_len,
                },
            );
        }
        let sizes = self.estimated(estimate);
        self.line(&format!("{}  {sizes}", printable(&source.display().to_string())));
    }

    /// Tells of a path of the target that was removed, or would be.
    pub(crate) fn removed(&mut self, path: &Path, would_be: bool) {
        self.totals.removed += 1;
        let path = path.display().to_string();
        if self.events.on() {
            return self.events.print("removed", PathLine { path, why: None });
        }
        let done = if would_be { "would remove" } else { "removed" };
        self.line(&format!("{done} {}", printable(&path)));
    }

    /// Tells of a file that was left as it was.
    pub(crate) fn unchanged(&mut self, path: &Path) {
        let path = path.display().to_string();
        if self.events.on() {
            return self.events.print("unchanged", PathLine { path, why: None });
        }
        self.line(&format!("{}  unchanged", printable(&path)));
    }

    /// Tells of what was left out of a directory.
    pub(crate) fn left_out(&mut self, source: &Path, left_out: &[LeftOut]) {
        self.totals.left_out += left_out.len() as u64;
        for left in left_out.iter().filter(|_| self.events.on()) {
            let (path, why) = (source.join(&left.path), Some(left.why.to_string()));
            self.events.print("left_out", PathLine { path: path.display().to_string(), why });
        }
        if left_out.is_empty() {
            return;
        }
        let shown = left_out.iter().take(LISTED);
        let shown: Vec<_> = shown.map(|left| format!("{} ({})", left.path, left.why)).collect();
        let more = match left_out.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        self.note(&format!("{}: left out: {}{more}", source.display(), shown.join(", ")));
    }

    /// Tells of the files of a directory that are missing or not what they should be.
    pub(crate) fn faults(&mut self, directory: &Path, faults: &[Fault]) {
        for fault in faults {
            report_fault(directory, fault);
            let path = directory.join(&fault.path).display().to_string();
            self.events.problem("fault", Some(&path), &fault.problem.to_string());
        }
        self.totals.faults += faults.len() as u64;
        self.worst = self.worst.max((!faults.is_empty()).then_some(Reported::Incomplete));
    }

    /// Tells of the failure of one source of several, unless it ends the work on all.
    pub(crate) fn fail(&mut self, source: &Path, failure: Failure) -> Result<()> {
        if failure.is_cancelled() || matches!(failure, Failure::Output(_)) {
            return Err(failure);
        }
        report_failure(&failure);
        self.worst = self.worst.max(Some(failure.reported()));
        let message = failure.message().unwrap_or_default();
        self.events.problem("failed", Some(&source.display().to_string()), &message);
        Ok(())
    }

    /// Prints a line for people.
    pub(crate) fn line(&mut self, line: &str) {
        if self.quiet || self.events.on() || self.printed.is_err() {
            return;
        }
        let print = |out: &mut dyn Write| -> io::Result<()> { writeln!(out, "{line}") };
        self.printed = print_beside(self.output.is_some_and(is_stdout), print);
    }

    /// Prints a note for people.
    pub(crate) fn note(&self, message: &str) {
        if !self.quiet {
            report_note(message);
        }
    }

    /// Writes a size: 1.2 MB.
    pub(crate) fn size(&self, bytes: u64) -> String {
        self.figures.size(bytes)
    }

    /// Writes two sizes: 1.2 MB -> 800 kB (66.7 %).
    pub(crate) fn sizes(&self, original: u64, packed: u64) -> String {
        let (from, to) = (self.figures.cell(original), self.figures.size(packed));
        format!("{from} -> {to} ({} %)", percent(packed, original))
    }

    /// Writes two sizes of which the second is estimated.
    pub(crate) fn estimated(&self, estimate: &Estimate) -> String {
        let original = estimate.original_len;
        let percent = |bytes: u64| bytes as f64 / original.max(1) as f64 * 100.0;
        let range = estimate.interval();
        let (low, high) = (percent(range.start), percent(range.end));
        let (from, to) =
            (self.figures.cell(original), self.figures.size(estimate.packed_len as u64));
        format!("{from} -> about {to} ({low:.1} to {high:.1} %)")
    }

    /// Ends the job: prints the summary of its events, and returns its outcome.
    pub(crate) fn end(self, outcome: Result<()>) -> Result<()> {
        let Self { events, totals, worst, printed, .. } = self;
        let reported = worst.map_or(printed, |worst| Err(Failure::Reported(worst)));
        events.end(outcome.and(reported), totals)
    }
}

/// Writes `source -> target`; a path that is both, once.
pub(crate) fn between(source: &Path, target: &Path) -> String {
    if source == target {
        return printable(&source.display().to_string()).into();
    }
    let (source, target) = (source.display().to_string(), target.display().to_string());
    format!("{} -> {}", printable(&source), printable(&target))
}

/// Writes how fast bytes were worked on.
pub(crate) fn speed(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    format!("{:.0} MB/s, {seconds:.2} s", bytes as f64 / 1e6 / seconds.max(1e-6))
}

/// Makes the failure for a repository that `--strict` refuses.
pub(crate) fn refused(report: &mut Report<'_>, source: &Path, error: Error) -> Failure {
    let Error::Incomplete(faults) = error else { return error.into() };
    report.faults(source, &faults);
    let source = source.display();
    Failure::Other(format!("{source}: not packed, as --strict asks: it has the faults above"))
}
