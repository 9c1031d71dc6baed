//! `at1w pack`

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use at1w_container::{Error, Level, PackOptions, Progress, Summary, pack_file, repository};
use clap::{Args, ValueEnum};

use super::{AT1W, SAFETENSORS, default_target, with_suffix};
use crate::Global;
use crate::failure::{Failure, Result, report_faults, report_note};
use crate::output::{percent, printable, to_stdout};
use crate::progress::Bar;

/// Pack a .safetensors file, or all .safetensors files of a model repository
///
/// A repository is a directory. Each .safetensors in it becomes an .at1w, every other file is
/// carried over, symbolic links are followed, and at1w-manifest.json pins all files. A .safetensors
/// without weights, such as a Git LFS pointer, is carried over as it is. It is listed, as are
/// missing shards that an index names, and the exit code is 5.
///
/// Nothing is lost: the source stays, 'at1w unpack' gives it back byte for byte, and the target
/// only appears when it is complete.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Pack {
    /// A .safetensors file, or a directory that holds some
    source: PathBuf,
    /// The file or directory to make [default: model.at1w of model.safetensors, model.at1w/ of
    /// model/]
    #[arg(short, long, value_name = "DST")]
    output: Option<PathBuf>,
    /// How hard to look for a small encoding
    #[arg(short, long, value_name = "LEVEL", default_value = "default")]
    level: LevelName,
    /// Keep the names of the packed files of a repository, so that loaders still find them
    #[arg(long)]
    keep_names: bool,
    /// Refuse a repository that lacks files, or has files that are not what their names say
    #[arg(long)]
    strict: bool,
    /// Replace a file that exists, or files in a directory that exists; other files there stay
    #[arg(long, short)]
    force: bool,
}

/// A level, as it is typed.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum LevelName {
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
  at1w pack ~/models/minilm --keep-names -o minilm-packed";

impl Pack {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.source.is_dir() { self.pack_directory(global) } else { self.pack_one(global) }
    }

    fn pack_one(self, global: &Global) -> Result<()> {
        let Self { source, output, level, keep_names, force: overwrite, .. } = self;
        if keep_names && output.is_none() {
            let problem = "--keep-names is for directories: name the target of a file with -o";
            return Err(Failure::Usage(problem.into()));
        }
        let target = match output {
            Some(target) => target,
            None => with_suffix(&source, SAFETENSORS, AT1W).unwrap_or_else(|| appended(&source)),
        };
        let bar = Bar::new(global.quiet)?;
        bar.begin(fs::metadata(&source).map_or(0, |metadata| metadata.len()));
        let options = PackOptions::new().overwrite(overwrite).level(level.into()).progress(&bar);
        let summary = pack_file(&source, &target, &options)?;
        let elapsed = bar.elapsed();
        drop(bar);
        if global.quiet {
            return Ok(());
        }
        let line = packed_line(&source, &target, &summary);
        let speed = speed(summary.original_len, elapsed);
        to_stdout(|out| writeln!(out, "{line}  {speed}"))
    }

    fn pack_directory(self, global: &Global) -> Result<()> {
        let Self { source, output, level, keep_names, strict, force: overwrite } = self;
        let own_name = source.file_name().map(|_| appended(&source));
        let target = default_target(&source, output.or(own_name))?;
        let bar = Bar::new(global.quiet)?;
        let options = repository::Options::new()
            .overwrite(overwrite)
            .keep_names(keep_names)
            .strict(strict)
            .level(level.into())
            .progress(&bar);
        let summary = match repository::pack(&source, &target, &options) {
            Err(Error::Incomplete(faults)) => {
                drop(bar);
                report_faults(&source, &faults);
                let source = source.display();
                return Err(Failure::Other(format!(
                    "{source}: not packed, as --strict asks: it has the faults above"
                )));
            }
            summary => summary?,
        };
        if summary.packed.is_empty() && summary.faults.is_empty() {
            bar.warn(&format!("{}: holds nothing that could be packed", source.display()));
        }
        let elapsed = bar.elapsed();
        drop(bar);
        let printed = if global.quiet {
            Ok(())
        } else {
            print_summary(&source, &target, &summary, elapsed, keep_names)
        };
        let reported = report_faults(&source, &summary.faults);
        reported.map_or(printed, |reported| Err(Failure::Reported(reported)))
    }
}

fn print_summary(
    source: &Path,
    target: &Path,
    summary: &repository::Summary,
    elapsed: Duration,
    keep_names: bool,
) -> Result<()> {
    let (mut original, mut packed) = (summary.carried_len, summary.carried_len);
    to_stdout(|out| {
        for file in &summary.packed {
            original += file.summary.original_len;
            packed += file.summary.packed_len;
            let (from, to) = (source.join(&file.path), target.join(&file.packed_path));
            writeln!(out, "{}", packed_line(&from, &to, &file.summary))?;
        }
        writeln!(
            out,
            "{} -> {}  {original} -> {packed} bytes ({} %)  {} packed, {} carried over  {}",
            printable(&source.display().to_string()),
            printable(&target.display().to_string()),
            percent(packed, original),
            summary.packed.len(),
            summary.carried,
            speed(original, elapsed)
        )
    })?;
    if let (false, Some(path)) = (keep_names, summary.singles.first()) {
        report_note(&format!(
            "programs look for {path} by its name: with --keep-names, and the hook of the Python \
                 package, they load the packed file"
        ));
    }
    Ok(())
}

/// Returns `path` with `.at1w` after its name, which has no trailing slash.
fn appended(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(AT1W);
    path.with_file_name(name)
}

fn packed_line(source: &Path, target: &Path, summary: &Summary) -> String {
    let Summary { original_len, packed_len, root, .. } = summary;
    let (source, target) = (source.display().to_string(), target.display().to_string());
    let (source, target) = (printable(&source), printable(&target));
    let percent = percent(*packed_len, *original_len);
    format!("{source} -> {target}  {original_len} -> {packed_len} bytes ({percent} %)  root {root}")
}

pub(super) fn speed(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    format!("{:.0} MB/s, {seconds:.2} s", bytes as f64 / 1e6 / seconds.max(1e-6))
}
