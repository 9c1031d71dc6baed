//! `at1w pack`

mod directory;
mod dry_run;
mod file;

use std::path::{Path, PathBuf};

use at1w_container::repository::{Filter, Options, Update, is_hub_cache, pack_in_place};
use at1w_container::{Level, Progress};
use clap::{Args, ValueEnum};

pub(crate) use self::file::set_modified;
use super::{AT1W, SAFETENSORS};
use crate::bases::Bases;
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::input::is_stdin;
use crate::progress::Bar;
use crate::report::Report;
use crate::sample::Sample;
use crate::sources::{self, Job};
use crate::{Global, in_place};

/// Pack .safetensors files, or all .safetensors files of model repositories
///
/// A repository is a directory: a download, a Git clone, a hub cache. Each .safetensors in it
/// becomes an .at1w, every other file is carried over, links within it stay links, and
/// at1w-manifest.json pins all files. Locks and unfinished downloads of a hub cache, .git and the
/// .cache/huggingface of a download are left out. Files that cannot be read or are not what their
/// names say, and missing shards that an index names, are listed, and the exit code is 5.
///
/// Nothing is lost: the source stays, 'at1w unpack' gives it back byte for byte, and the target
/// only appears, or changes, when it is complete.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Pack {
    /// .safetensors files, directories that hold some, or patterns such as 'models/*'; - is
    /// standard input
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// The file or directory to make; of several sources, the directory to make them in; - is
    /// standard output [default: model.at1w of model.safetensors, model.at1w/ of model/]
    #[arg(short, long, value_name = "DST")]
    output: Option<PathBuf>,
    /// Replace each file by its packed form, under the same name
    #[arg(long, conflicts_with_all = ["output", "keep_names", "force", "update", "prune"])]
    in_place: bool,
    /// Do what would be asked about: pack a hub cache in place, or prune everything
    #[arg(long, short)]
    yes: bool,
    /// Leave what has not changed, by size and time of change, since the target was made
    #[arg(long, short)]
    update: bool,
    /// With --update, compare the SHA-256 of the sources instead of their times
    #[arg(long, requires = "update")]
    checksum: bool,
    /// Remove from the target what is gone at the source; never what at1w did not make
    #[arg(long)]
    prune: bool,
    /// Pack only files that match: names ('*.json'), or paths from the source ('onnx/**')
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out files and directories that match
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Keep locks, unfinished downloads, .git and download records too
    #[arg(long)]
    all: bool,
    /// How hard to look for a small encoding
    #[arg(short, long, value_name = "LEVEL", default_value = "default")]
    level: LevelName,
    /// Keep the names of the packed files of a repository, so that loaders still find them
    #[arg(long)]
    keep_names: bool,
    /// Refuse a repository that lacks files, or has files that are not what their names say
    #[arg(long)]
    strict: bool,
    /// Write nothing; say what would be done, and how small it would be by samples
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// The part of each file that a dry run packs: 10%, or 1GB of all files
    #[arg(long, value_name = "PART", default_value = "2%", requires = "dry_run")]
    sample: Sample,
    /// Replace a file that exists, or files in a directory that exists; other files there stay
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    bases: Bases,
    /// Print a line of JSON for each event, and one for the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    figures: Figures,
}

/// A level, as it is typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LevelName {
    /// Tables for each plane: the fastest to pack and to load
    Fast,
    /// Scales of rows and columns as well: up to two points smaller
    Default,
    /// Probabilities by column: up to two points smaller again, several times as long to load
    Max,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Fast => Self::Fast,
            LevelName::Default => Self::Default,
            LevelName::Max => Self::Max,
        }
    }
}

const HELP: &str = "\
Examples:
  at1w pack model.safetensors
  at1w pack model.safetensors -o /backup/model-v1.at1w
  at1w pack ~/models/minilm                     make ~/models/minilm.at1w/
  at1w pack ~/models/minilm --keep-names -o minilm-packed
  at1w pack '~/models/*' -o /backup --update --prune  every night: only what has changed
  at1w pack step200.safetensors --base step100.at1w  only what differs
  at1w pack step200.safetensors --base auto runs/
  at1w pack --in-place ~/models/minilm          the same names, a third smaller
  at1w pack -n ~/models/minilm                  how small would it be?";

impl Pack {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let output = self.output.as_deref();
        let mut report = Report::new(global, self.figures, self.json, output);
        let outcome = self.pack_all(&mut report, global);
        report.end(outcome)
    }

    fn pack_all(&self, report: &mut Report<'_>, global: &Global) -> Result<()> {
        let output = self.output.as_deref();
        let make = !self.dry_run;
        let jobs = sources::jobs(&self.sources, output, self.in_place, make, own_name)?;
        sources::each(&jobs, report, |job, report| self.pack(job, report, global))
    }

    fn pack(&self, job: &Job, report: &mut Report<'_>, global: &Global) -> Result<()> {
        let based = !self.bases.base.is_empty();
        if based && (self.dry_run || self.in_place || job.source.is_dir()) {
            let problem =
                "--base is for files one by one, not for directories, dry runs or in place";
            return Err(Failure::Usage(problem.into()));
        }
        match (job.source.is_dir(), self.dry_run) {
            _ if self.in_place && !self.dry_run => self.pack_in_place(&job.source, report, global),
            (true, false) => self.pack_directory(job, report, global),
            (true, true) => self.forecast_directory(job, report, global),
            (false, false) => self.pack_file(job, report, global),
            (false, true) => self.forecast_file(job, report, global),
        }
    }

    fn pack_in_place(&self, path: &Path, report: &mut Report<'_>, global: &Global) -> Result<()> {
        if !self.yes && is_hub_cache(path, &self.options(&())?)? {
            in_place::ask(path)?;
        }
        let bar = Bar::new(global.quiet)?;
        let done = pack_in_place(path, &self.options(&bar)?)?;
        in_place::tell(path, &done, report, bar, false);
        Ok(())
    }

    /// Returns the options for a directory.
    fn options<'a>(&self, progress: &'a dyn Progress) -> Result<Options<'a>> {
        Ok(Options::new()
            .overwrite(self.force)
            .keep_names(self.keep_names)
            .strict(self.strict)
            .update(match (self.update, self.checksum) {
                (false, _) => Update::Nothing,
                (true, false) => Update::ByTime,
                (true, true) => Update::ByDigest,
            })
            .prune(self.prune)
            .prune_all(self.yes)
            .all(self.all)
            .filter(self.filter()?)
            .level(self.level.into())
            .progress(progress))
    }

    fn filter(&self) -> Result<Filter> {
        Filter::new(&self.include, &self.exclude).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// Returns the target of a source for which none is named.
fn own_name(source: &Path) -> Option<PathBuf> {
    if is_stdin(source) {
        return None;
    }
    let name = source.file_name()?;
    let stem = name.to_str().filter(|_| !source.is_dir()).and_then(|name| {
        let (stem, suffix) = name.split_at_checked(name.len().checked_sub(SAFETENSORS.len())?)?;
        (suffix.eq_ignore_ascii_case(SAFETENSORS) && !stem.is_empty()).then_some(stem)
    });
    let mut name = stem.map_or(name.to_owned(), |stem| stem.into());
    name.push(AT1W);
    Some(source.with_file_name(name))
}
