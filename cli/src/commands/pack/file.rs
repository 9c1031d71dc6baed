//! Packing one file.

use std::fs;
use std::io::Write;
use std::path::Path;

use at1w_container::{PackOptions, Progress, Reader, pack_file, repository};

use super::sources::Job;
use super::{Pack, packed_line, speed};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::to_stdout;
use crate::progress::Bar;

impl Pack {
    pub(super) fn pack_file(&self, job: &Job, global: &Global) -> Result<()> {
        let Job { source, target } = job;
        if self.keep_names && self.output.is_none() {
            let problem = "--keep-names is for directories: name the target of a file with -o";
            return Err(Failure::Usage(problem.into()));
        }
        let bar = Bar::new(global.quiet)?;
        if self.update && self.is_unchanged(source, target, &bar)? {
            drop(bar);
            if global.quiet {
                return Ok(());
            }
            return to_stdout(|out| writeln!(out, "{}  unchanged", target.display()));
        }
        bar.begin(fs::metadata(source).map_or(0, |metadata| metadata.len()));
        let overwrite = self.force || self.update;
        let options =
            PackOptions::new().overwrite(overwrite).level(self.level.into()).progress(&bar);
        let summary = pack_file(source, target, &options)?;
        let elapsed = bar.elapsed();
        drop(bar);
        if global.quiet {
            return Ok(());
        }
        let line = packed_line(source, target, &summary);
        let speed = speed(summary.original_len, elapsed);
        to_stdout(|out| writeln!(out, "{line}  {speed}"))
    }

    /// Whether the target was made of the source as it is: it packs as many bytes, and is newer.
    fn is_unchanged(&self, source: &Path, target: &Path, bar: &Bar) -> Result<bool> {
        let Ok(reader) = Reader::open(target) else { return Ok(false) };
        let (Ok(from), Ok(to)) = (source.metadata(), target.metadata()) else { return Ok(false) };
        if reader.info().original_len != from.len() {
            return Ok(false);
        }
        if self.checksum {
            return Ok(repository::sha256_of(source, bar)? == reader.info().original_digest);
        }
        Ok(matches!((from.modified(), to.modified()), (Ok(from), Ok(to)) if from < to))
    }
}
