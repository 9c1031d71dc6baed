//! Packing one file.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use at1w_container::fs::write_atomically;
use at1w_container::{Error, PackOptions, Progress, Reader, Summary, pack, pack_file, repository};

use super::Pack;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{self, check_no_patterns, is_stdin};
use crate::output::{is_stdout, stdout_for_bytes};
use crate::progress::Bar;
use crate::report::{Report, Totals, speed};
use crate::sources::Job;

impl Pack {
    pub(super) fn pack_file(
        &self,
        job: &Job,
        report: &mut Report<'_>,
        global: &Global,
    ) -> Result<()> {
        let Job { source, target } = job;
        check_no_patterns(source, &self.include, &self.exclude)?;
        if self.keep_names && self.output.is_none() {
            let problem = "--keep-names is for directories: name the target of a file with -o";
            return Err(Failure::Usage(problem.into()));
        }
        // Standard input first: it is read while a signal still ends the process.
        let stdin = if is_stdin(source) { Some(input::stdin_file()?) } else { None };
        let bar = Bar::new(global.quiet)?;
        if self.update && stdin.is_none() && self.is_unchanged(source, target, &bar)? {
            drop(bar);
            report.unchanged(target);
            let (original_bytes, packed_bytes) = (len(source), len(target));
            report.add(Totals { unchanged: 1, original_bytes, packed_bytes, ..Totals::default() });
            return Ok(());
        }
        let overwrite = self.force || self.update;
        let bases = match (&stdin, self.bases.base.is_empty()) {
            (_, true) => Vec::new(),
            (Some(file), false) => self.bases.open(file, &[target])?,
            (None, false) => self.bases.open(&open(source)?, &[source, target])?,
        };
        if !is_stdout(target) {
            bases.iter().try_for_each(|base| base.check_target(target))?;
        }
        let options = PackOptions::new()
            .overwrite(overwrite)
            .level(self.level.into())
            .progress(&bar)
            .bases(&bases)
            .max_depth(self.bases.max_depth);
        let summary = match stdin {
            _ if is_stdout(target) => {
                let file = stdin.map_or_else(|| open(source), Ok)?;
                bar.begin(file.metadata().map_or(0, |metadata| metadata.len()));
                let out = stdout_for_bytes()?;
                to_stdout(&file, out, &options).map_err(|error| error.in_file(input::shown(source)))
            }
            Some(file) => {
                bar.begin(file.metadata().map_or(0, |metadata| metadata.len()));
                write_atomically(target, overwrite, |out| {
                    pack(&file, out, &options).map_err(|error| match error {
                        Error::Write(_) => error,
                        error => error.in_file(input::shown(source)),
                    })
                })
            }
            None => {
                bar.begin(len(source));
                let modified = source.metadata().and_then(|metadata| metadata.modified()).ok();
                let packed = pack_file(source, target, &options);
                if let (Ok(_), Some(modified), true) = (&packed, modified, self.update) {
                    set_modified(target, modified)?;
                }
                packed
            }
        }?;
        let elapsed = bar.elapsed();
        drop(bar);
        let speed = format!("  {}", speed(summary.original_len, elapsed));
        report.packed(input::shown(source), target, &summary, &speed);
        report.add(Totals {
            packed: 1,
            original_bytes: summary.original_len,
            packed_bytes: summary.packed_len,
            seconds: elapsed.as_secs_f64(),
            ..Totals::default()
        });
        Ok(())
    }

    /// Whether the target was made of the source as it is: it packs as many bytes, and `--update`
    /// gave it the same time.
    fn is_unchanged(&self, source: &Path, target: &Path, bar: &Bar) -> Result<bool> {
        let Ok(reader) = Reader::open(target) else { return Ok(false) };
        let (Ok(from), Ok(to)) = (source.metadata(), target.metadata()) else { return Ok(false) };
        if reader.info().original_len != from.len() {
            return Ok(false);
        }
        if self.checksum {
            return Ok(repository::sha256_of(source, bar)? == reader.info().original_digest);
        }
        Ok(matches!((from.modified(), to.modified()), (Ok(from), Ok(to)) if from == to))
    }
}

/// Gives a file a time at which it was modified.
pub(crate) fn set_modified(path: &Path, time: SystemTime) -> Result<()> {
    let set = File::open(path).and_then(|file| file.set_modified(time));
    Ok(set.map_err(|cause| Error::Io { path: path.to_owned(), cause })?)
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn open(path: &Path) -> Result<File> {
    Ok(at1w_container::open_file(path, at1w_container::Wanted::Safetensors)?)
}

fn to_stdout(
    file: &File,
    mut out: impl Write + Send,
    options: &PackOptions<'_>,
) -> at1w_container::Result<Summary> {
    let summary = pack(file, &mut out, options)?;
    out.flush().map_err(Error::Write)?;
    Ok(summary)
}
