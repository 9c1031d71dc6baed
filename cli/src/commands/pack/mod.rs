//! `at1w pack`

mod directory;
mod dry_run;
mod file;
pub(super) mod in_place;
mod sources;

use std::path::{Path, PathBuf};
use std::time::Duration;

use at1w_container::repository::{Filter, Options, Update};
use at1w_container::{Level, Progress, Summary};
use clap::{Args, ValueEnum};

use self::sources::Job;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{percent, printable};
use crate::sample::Sample;

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
    /// .safetensors files, directories that hold some, or patterns such as 'models/*'
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// The file or directory to make; of several sources, the directory to make them in [default:
    /// model.at1w of model.safetensors, model.at1w/ of model/]
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
}

/// A level, as it is typed.
#[derive(Clone, Copy, ValueEnum)]
enum LevelName {
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
  at1w pack ~/models/* -o /backup --update --prune    every night: only what has changed
  at1w pack --in-place ~/models/minilm          the same names, a third smaller
  at1w pack -n ~/models/minilm                  how small would it be?";

impl Pack {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let jobs = sources::jobs(&self.sources, self.output.as_deref(), self.in_place)?;
        let several = jobs.len() > 1;
        if let (true, Some(output), false) = (several, &self.output, self.dry_run) {
            sources::make_folder(output)?;
        }
        let mut worst = None;
        for job in &jobs {
            match self.pack(job, global) {
                Ok(()) => {}
                Err(failure) if several => {
                    let code = failure.report_and_go_on()?;
                    worst = worst.max(Some(code));
                }
                Err(failure) => return Err(failure),
            }
        }
        worst.map_or(Ok(()), |worst| Err(Failure::Reported(worst)))
    }

    fn pack(&self, job: &Job, global: &Global) -> Result<()> {
        match (job.source.is_dir(), self.dry_run) {
            _ if self.in_place => self.pack_in_place(&job.source, global),
            (true, false) => self.pack_directory(job, global),
            (true, true) => self.forecast_directory(job, global),
            (false, false) => self.pack_file(job, global),
            (false, true) => self.forecast_file(job, global),
        }
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

/// Writes how fast bytes were worked on.
pub(super) fn speed(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    format!("{:.0} MB/s, {seconds:.2} s", bytes as f64 / 1e6 / seconds.max(1e-6))
}

fn packed_line(source: &Path, target: &Path, summary: &Summary) -> String {
    let Summary { original_len, packed_len, root, .. } = summary;
    let (source, target) = (source.display().to_string(), target.display().to_string());
    let (source, target) = (printable(&source), printable(&target));
    let percent = percent(*packed_len, *original_len);
    format!("{source} -> {target}  {original_len} -> {packed_len} bytes ({percent} %)  root {root}")
}
