//! Packing a directory.

use at1w_container::Progress;
use at1w_container::repository::{self, Summary};

use super::Pack;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::is_stdout;
use crate::progress::Bar;
use crate::report::{Report, Totals, between, refused, speed};
use crate::sources::Job;

impl Pack {
    pub(super) fn pack_directory(
        &self,
        job: &Job,
        report: &mut Report<'_>,
        global: &Global,
    ) -> Result<()> {
        let Job { source, target } = job;
        if is_stdout(target) {
            return Err(Failure::Usage("-o - is for one file, and not for a directory".into()));
        }
        let bar = Bar::new(global.quiet)?;
        let packed = repository::pack(source, target, &self.options(&bar)?);
        let elapsed = bar.elapsed();
        if let Ok(summary) = &packed
            && summary.packed.is_empty()
            && summary.unchanged == 0
            && summary.faults.is_empty()
        {
            bar.warn(&format!("{}: holds nothing that could be packed", source.display()));
        }
        drop(bar);
        let summary = packed.map_err(|error| refused(report, source, error))?;
        for file in &summary.packed {
            let (from, to) = (source.join(&file.path), target.join(&file.packed_path));
            report.packed(&from, &to, &file.summary, "");
        }
        summary.pruned.iter().for_each(|path| report.removed(&target.join(path), false));
        let Summary { original_len, packed_len, carried, unchanged, links, gone, .. } = summary;
        let sizes = report.sizes(original_len, packed_len);
        let counts = counts(&summary);
        let speed = speed(original_len, elapsed);
        report.line(&format!("{}  {sizes}  {counts}  {speed}", between(source, target)));
        report.left_out(source, &summary.left_out);
        if gone > 0 {
            let target = target.display();
            report.note(&format!(
                "{target}: {gone} files stay whose sources are gone: --prune removes them"
            ));
        }
        if let (false, Some(path)) = (self.keep_names, summary.singles.first()) {
            report.note(&format!(
                "programs look for {path} by its name: with --keep-names, and the hook of the \
                 Python package, they load the packed file"
            ));
        }
        report.faults(source, &summary.faults);
        report.add(Totals {
            packed: summary.packed.len() as u64,
            carried,
            unchanged,
            links,
            gone,
            original_bytes: original_len,
            packed_bytes: packed_len,
            seconds: elapsed.as_secs_f64(),
            ..Totals::default()
        });
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
