//! Saying what packing would do.

use std::fs;
use std::path::Path;

use at1w_container::repository::{Forecast, forecast};
use at1w_container::{Wanted, estimate, open_file};

use super::Pack;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::is_stdin;
use crate::output::printable;
use crate::progress::Bar;
use crate::report::{Report, Totals};
use crate::sources::Job;

impl Pack {
    pub(super) fn forecast_file(
        &self,
        job: &Job,
        report: &mut Report<'_>,
        global: &Global,
    ) -> Result<()> {
        if is_stdin(&job.source) {
            return Err(Failure::Usage("a dry run takes samples of a file: name one".into()));
        }
        let source = open_file(&job.source, Wanted::Safetensors)?;
        let bar = Bar::new(global.quiet)?;
        let share = self.sample.share_of(fs::metadata(&job.source).map_or(0, |m| m.len()));
        let done = estimate(&source, self.level.into(), share, &bar);
        let done = done.map_err(|error| error.in_file(&job.source))?;
        drop(bar);
        report.estimate(&job.source, &done);
        let (original_bytes, packed_bytes) = (done.original_len, done.packed_len as u64);
        report.add(Totals { packed: 1, original_bytes, packed_bytes, ..Totals::default() });
        report.note(NOTE);
        Ok(())
    }

    pub(super) fn forecast_directory(
        &self,
        job: &Job,
        report: &mut Report<'_>,
        global: &Global,
    ) -> Result<()> {
        let source = job.source.as_path();
        let target = (!self.in_place).then_some(job.target.as_path());
        let bar = Bar::new(global.quiet)?;
        let share = |len| self.sample.share_of(len);
        let done = forecast(source, target, &self.options(&bar)?, share)?;
        drop(bar);
        for (path, estimate) in &done.packed {
            report.estimate(&source.join(path), estimate);
        }
        let target = target.unwrap_or(Path::new(""));
        done.pruned.iter().for_each(|path| report.removed(&target.join(path), true));
        let Forecast { carried, unchanged, links, gone, total, .. } = done;
        let (packed, sizes) = (done.packed.len(), report.estimated(&total));
        report.line(&format!(
            "{}  {sizes}  {packed} to pack, {carried} to carry over, {unchanged} unchanged, \
             {links} links",
            printable(&source.display().to_string()),
        ));
        report.left_out(source, &done.left_out);
        if gone > 0 {
            report.note(&format!("{gone} files of the target would stay: --prune removes them"));
        }
        report.note(NOTE);
        if done.in_the_way {
            let target = target.display();
            report.note(&format!("{target} exists: pack would need --update or --force"));
        }
        report.faults(source, &done.faults);
        report.add(Totals {
            packed: packed as u64,
            carried,
            unchanged,
            links,
            gone,
            original_bytes: total.original_len,
            packed_bytes: total.packed_len as u64,
            ..Totals::default()
        });
        Ok(())
    }
}

const NOTE: &str = "nothing was written: this is an estimate from samples";
