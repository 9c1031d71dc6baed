//! `at1w unpack`

use std::io::Write;
use std::path::{Path, PathBuf};

use at1w_container::fs::{check_distinct, write_atomically};
use at1w_container::repository::{self, Filter, Options, Update, unpack_in_place};
use at1w_container::{
    Error, FileKind, OpenOptions, Progress, Reader, Summary, UnpackOptions, Wanted, unpack_file,
};
use clap::Args;

use super::pack::set_modified;
use super::{AT1W, SAFETENSORS, with_suffix};
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::input::{self, Copy, check_no_patterns};
use crate::output::{is_stdout, stdout_for_bytes};
use crate::progress::Bar;
use crate::report::{Report, Totals, between, speed};
use crate::sources::{self, Job};
use crate::{Global, in_place};

/// Restore the original files, byte for byte
///
/// Every restored file gets its name only after its SHA-256 is checked against the original.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Unpack {
    /// .at1w files, by path or URL, packed repositories, or patterns such as 'backup/*'; - is
    /// standard input
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// The file or directory to make; of several sources, the directory to make them in; - is
    /// standard output [default: model.safetensors of model.at1w, model/ of model.at1w/]
    #[arg(short, long, value_name = "DST")]
    output: Option<PathBuf>,
    /// Restore each packed file under the name that it has, as it was before 'pack --in-place'
    #[arg(long, conflicts_with_all = ["output", "force", "update"])]
    in_place: bool,
    /// Leave files of the target that are as they would be restored, by size and time of change
    #[arg(long, short)]
    update: bool,
    /// With --update, compare the SHA-256 of the files instead of their times
    #[arg(long, requires = "update")]
    checksum: bool,
    /// Restore only files that match: names ('*.json'), or paths from the source ('onnx/**')
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out files and directories that match
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Replace a file that exists, or files in a directory that exists; other files there stay
    #[arg(long, short)]
    force: bool,
    /// Print a line of JSON for each event, and one for the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    figures: Figures,
}

const HELP: &str = "\
Examples:
  at1w unpack model.at1w
  at1w unpack model.at1w -o /tmp/model.safetensors
  at1w unpack model.at1w -o - | sha256sum
  at1w unpack ~/models/minilm.at1w              make ~/models/minilm/
  at1w unpack --in-place ~/models/minilm        undo pack --in-place";

impl Unpack {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let output = self.output.as_deref();
        let mut report = Report::new(global, self.figures, self.json, output);
        let outcome = self.unpack_all(&mut report, global);
        report.end(outcome)
    }

    fn unpack_all(&self, report: &mut Report<'_>, global: &Global) -> Result<()> {
        let output = self.output.as_deref();
        if let [source] = &self.sources[..]
            && source.is_dir()
            && !self.in_place
        {
            // Says more than that its name is no name of a packed repository.
            require_repository(source)?;
        }
        let jobs = sources::jobs(&self.sources, output, self.in_place, true, own_name)?;
        sources::each(&jobs, report, |job, report| self.unpack(job, report, global))
    }

    fn unpack(&self, job: &Job, report: &mut Report<'_>, global: &Global) -> Result<()> {
        if self.in_place {
            let bar = Bar::new(global.quiet)?;
            let done = unpack_in_place(&job.source, &self.options(&bar)?)?;
            in_place::tell(&job.source, &done, report, bar, true);
            Ok(())
        } else if job.source.is_dir() {
            self.unpack_directory(job, report, global)
        } else {
            self.unpack_file(job, report, global)
        }
    }

    fn unpack_file(&self, job: &Job, report: &mut Report<'_>, global: &Global) -> Result<()> {
        let Job { source, target } = job;
        check_no_patterns(source, &self.include, &self.exclude)?;
        if !input::has_no_path(source) {
            check_distinct(source, target)?;
        }
        // Before signals are caught: one still ends the process while this waits.
        let (weights, opened);
        let reader = if input::address(source).is_some() {
            weights = input::open_with(source, &OpenOptions::new(), Copy::Kept)?;
            let plain = || Error::wrong_kind(FileKind::Safetensors, Wanted::At1w).in_file(source);
            weights.packed().ok_or_else(plain)?
        } else {
            opened = input::open_packed(source)?;
            &opened
        };
        let bar = Bar::new(global.quiet)?;
        if self.update && self.is_unchanged(reader, source, target, &bar)? {
            drop(bar);
            report.unchanged(target);
            let Summary { original_len: original_bytes, packed_len: packed_bytes, .. } =
                reader.summary();
            report.add(Totals { unchanged: 1, original_bytes, packed_bytes, ..Totals::default() });
            return Ok(());
        }
        bar.begin(reader.info().original_len);
        let overwrite = self.force || self.update;
        let in_source = |error| match error {
            Error::Write(_) => error,
            error => error.in_file(input::shown(source)),
        };
        if is_stdout(target) {
            let mut out = stdout_for_bytes()?;
            reader.restore(&mut out, &bar).map_err(in_source)?;
            out.flush().map_err(Failure::Output)?;
        } else if input::has_no_path(source) {
            write_atomically(target, overwrite, |out| {
                reader.restore(out, &bar).map_err(in_source)
            })?;
        } else {
            let bases = input::folders(source);
            let options = UnpackOptions::new().overwrite(overwrite).progress(&bar).bases(&bases);
            let modified = source.metadata().and_then(|metadata| metadata.modified()).ok();
            unpack_file(source, target, &options)?;
            if let (Some(modified), true) = (modified, self.update) {
                set_modified(target, modified)?;
            }
        }
        let elapsed = bar.elapsed();
        drop(bar);
        let summary = reader.summary();
        let speed = format!("  {}", speed(summary.original_len, elapsed));
        report.unpacked(input::shown(source), target, &summary, &speed);
        report.add(Totals {
            unpacked: 1,
            original_bytes: summary.original_len,
            packed_bytes: summary.packed_len,
            seconds: elapsed.as_secs_f64(),
            ..Totals::default()
        });
        Ok(())
    }

    /// Whether the target is the original as it is: it has its size, and `--update` gave it the
    /// time of the packed file; with `--checksum` it has its SHA-256.
    fn is_unchanged(
        &self,
        reader: &Reader,
        source: &Path,
        target: &Path,
        bar: &Bar,
    ) -> Result<bool> {
        let Ok(to) = target.metadata() else { return Ok(false) };
        if !to.is_file() || to.len() != reader.info().original_len {
            return Ok(false);
        }
        if self.checksum {
            return Ok(repository::sha256_of(target, bar)? == reader.info().original_digest);
        }
        let from = source.metadata().and_then(|from| from.modified());
        Ok(matches!((from, to.modified()), (Ok(from), Ok(to)) if from == to))
    }

    fn unpack_directory(&self, job: &Job, report: &mut Report<'_>, global: &Global) -> Result<()> {
        let Job { source, target } = job;
        if is_stdout(target) {
            return Err(Failure::Usage("-o - is for one file, and not for a directory".into()));
        }
        require_repository(source)?;
        let bar = Bar::new(global.quiet)?;
        let summary = repository::unpack(source, target, &self.options(&bar)?)?;
        let elapsed = bar.elapsed();
        drop(bar);
        for file in &summary.packed {
            let (from, to) = (source.join(&file.packed_path), target.join(&file.path));
            report.unpacked(&from, &to, &file.summary, "");
        }
        let (unpacked, carried) = (summary.packed.len() as u64, summary.carried);
        let unchanged = match summary.unchanged {
            0 => String::new(),
            count => format!(", {count} unchanged"),
        };
        let size = self.figures.size(summary.original_len);
        let speed = speed(summary.original_len, elapsed);
        report.line(&format!(
            "{}  {size}  {unpacked} unpacked, {carried} carried over{unchanged}  {speed}",
            between(source, target)
        ));
        report.left_out(source, &summary.left_out);
        report.add(Totals {
            unpacked,
            carried,
            unchanged: summary.unchanged,
            links: summary.links,
            original_bytes: summary.original_len,
            packed_bytes: summary.packed_len,
            seconds: elapsed.as_secs_f64(),
            ..Totals::default()
        });
        Ok(())
    }

    /// Returns the options for a directory.
    fn options<'a>(&self, progress: &'a dyn Progress) -> Result<Options<'a>> {
        let filter = Filter::new(&self.include, &self.exclude);
        let filter = filter.map_err(|error| Failure::Usage(error.to_string()))?;
        let update = match (self.update, self.checksum) {
            (false, _) => Update::Nothing,
            (true, false) => Update::ByTime,
            (true, true) => Update::ByDigest,
        };
        let options = Options::new().overwrite(self.force).update(update);
        Ok(options.filter(filter).progress(progress))
    }
}

/// Returns the target of a source for which none is named; of an address, one in this directory.
fn own_name(source: &Path) -> Option<PathBuf> {
    if let Some(address) = input::address(source) {
        let name = Path::new(address.split(['?', '#']).next()?).file_name()?;
        return with_suffix(Path::new(name), AT1W, SAFETENSORS);
    }
    let suffix = if source.is_dir() { "" } else { SAFETENSORS };
    with_suffix(source, AT1W, suffix)
}

/// Checks that a directory has a manifest.
pub(super) fn require_repository(directory: &Path) -> Result<()> {
    if repository::is_repository(directory) {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "{}: is no packed repository, it has no at1w-manifest.json: name one file in it",
        directory.display()
    )))
}
