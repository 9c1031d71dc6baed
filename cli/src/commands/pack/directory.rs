//! Packing a directory.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use at1w_container::repository::{self, LeftOut, Summary};
use at1w_container::{Error, Progress};

use super::sources::Job;
use super::{Pack, packed_line, speed};
use crate::Global;
use crate::failure::{Failure, Result, report_faults, report_note};
use crate::output::{percent, printable, to_stdout};
use crate::progress::Bar;

/// The number of paths that are listed of those that were left out.
const LISTED: usize = 5;

impl Pack {
    pub(super) fn pack_directory(&self, job: &Job, global: &Global) -> Result<()> {
        let Job { source, target } = job;
        let bar = Bar::new(global.quiet)?;
        let packed = repository::pack(source, target, &self.options(&bar)?);
        let summary = match packed {
            Err(Error::Incomplete(faults)) => {
                drop(bar);
                report_faults(source, &faults);
                let source = source.display();
                return Err(Failure::Other(format!(
                    "{source}: not packed, as --strict asks: it has the faults above"
                )));
            }
            summary => summary?,
        };
        if summary.packed.is_empty() && summary.unchanged == 0 && summary.faults.is_empty() {
            bar.warn(&format!("{}: holds nothing that could be packed", source.display()));
        }
        let elapsed = bar.elapsed();
        drop(bar);
        let printed =
            if global.quiet { Ok(()) } else { self.print_summary(job, &summary, elapsed) };
        let reported = report_faults(source, &summary.faults);
        reported.map_or(printed, |reported| Err(Failure::Reported(reported)))
    }

    fn print_summary(&self, job: &Job, summary: &Summary, elapsed: Duration) -> Result<()> {
        let Job { source, target } = job;
        let Summary { original_len: original, packed_len: packed, .. } = *summary;
        to_stdout(|out| {
            for file in &summary.packed {
                let (from, to) = (source.join(&file.path), target.join(&file.packed_path));
                writeln!(out, "{}", packed_line(&from, &to, &file.summary))?;
            }
            for path in &summary.pruned {
                writeln!(out, "removed {}", printable(&target.join(path).display().to_string()))?;
            }
            writeln!(
                out,
                "{} -> {}  {original} -> {packed} bytes ({} %)  {}  {}",
                printable(&source.display().to_string()),
                printable(&target.display().to_string()),
                percent(packed, original),
                counts(summary),
                speed(original, elapsed)
            )
        })?;
        if !summary.left_out.is_empty() {
            report_left_out(source, &summary.left_out);
        }
        if summary.gone > 0 {
            let (gone, target) = (summary.gone, target.display());
            report_note(&format!(
                "{target}: {gone} files stay whose sources are gone: --prune removes them"
            ));
        }
        if let (false, Some(path)) = (self.keep_names, summary.singles.first()) {
            report_note(&format!(
                "programs look for {path} by its name: with --keep-names, and the hook of the \
                 Python package, they load the packed file"
            ));
        }
        Ok(())
    }
}

fn counts(summary: &Summary) -> String {
    let Summary { carried, unchanged, links, .. } = summary;
    let mut counts = format!("{} packed, {carried} carried over", summary.packed.len());
    for (count, what) in [(*unchanged, "unchanged"), (*links, "links")] {
        if count > 0 {
            counts += &format!(", {count} {what}");
        }
    }
    counts
}

/// Says what was left out, and why.
pub(super) fn report_left_out(source: &Path, left_out: &[LeftOut]) {
    let shown = left_out.iter().take(LISTED);
    let shown: Vec<_> = shown.map(|left| format!("{} ({})", left.path, left.why)).collect();
    let more = match left_out.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    report_note(&format!("{}: left out: {}{more}", source.display(), shown.join(", ")));
}
