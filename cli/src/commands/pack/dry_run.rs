//! Saying what packing would do.

use std::fs;
use std::io::Write;
use std::path::Path;

use at1w_container::repository::{Forecast, forecast};
use at1w_container::{Estimate, Wanted, estimate, open_file};

use super::Pack;
use super::directory::report_left_out;
use super::sources::Job;
use crate::Global;
use crate::failure::{Failure, Result, report_faults, report_note};
use crate::output::{printable, to_stdout};
use crate::progress::Bar;

impl Pack {
    pub(super) fn forecast_directory(&self, job: &Job, global: &Global) -> Result<()> {
        self.print_forecast(&job.source, Some(&job.target), global)
    }

    pub(super) fn forecast_file(&self, job: &Job, global: &Global) -> Result<()> {
        let source = open_file(&job.source, Wanted::Safetensors)?;
        let bar = Bar::new(global.quiet)?;
        let share = self.sample.share_of(fs::metadata(&job.source).map_or(0, |m| m.len()));
        let done = estimate(&source, self.level.into(), share, &bar);
        let done = done.map_err(|error| error.in_file(&job.source))?;
        drop(bar);
        let source = job.source.display().to_string();
        to_stdout(|out| writeln!(out, "{}  {}", printable(&source), sizes(&done)))
    }

    /// Prints what packing a directory would do; in place where there is no target.
    pub(super) fn print_forecast(
        &self,
        source: &Path,
        target: Option<&Path>,
        global: &Global,
    ) -> Result<()> {
        let bar = Bar::new(global.quiet)?;
        let share = |len| self.sample.share_of(len);
        let done = forecast(source, target, &self.options(&bar)?, share)?;
        drop(bar);
        to_stdout(|out| {
            for (path, sizes_of) in &done.packed {
                let path = source.join(path).display().to_string();
                writeln!(out, "{}  {}", printable(&path), sizes(sizes_of))?;
            }
            for path in &done.pruned {
                writeln!(out, "would remove {}", printable(path))?;
            }
            let Forecast { carried, unchanged, links, .. } = done;
            let (source, packed) = (source.display().to_string(), done.packed.len());
            writeln!(
                out,
                "{}  {}  {packed} to pack, {carried} to carry over, {unchanged} unchanged, {links} links",
                printable(&source),
                sizes(&done.total)
            )
        })?;
        if !done.left_out.is_empty() {
            report_left_out(source, &done.left_out);
        }
        if done.gone > 0 {
            report_note(&format!(
                "{} files of the target would stay: --prune removes them",
                done.gone
            ));
        }
        report_note("nothing was written: this is an estimate from samples");
        let reported = report_faults(source, &done.faults);
        reported.map_or(Ok(()), |reported| Err(Failure::Reported(reported)))
    }
}

/// Writes sizes as `1000 -> about 660 bytes (65.9 to 66.1 %)`.
fn sizes(estimate: &Estimate) -> String {
    let (original, packed) = (estimate.original_len, estimate.packed_len);
    let percent = |bytes: u64| bytes as f64 / original.max(1) as f64 * 100.0;
    let interval = estimate.interval();
    let (low, high) = (percent(interval.start), percent(interval.end));
    format!("{original} -> about {packed:.0} bytes ({low:.1} to {high:.1} %)")
}
