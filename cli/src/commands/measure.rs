//! `at1w measure`

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use at1w_container::fs::write_atomically;
use at1w_container::{Error, Level, Progress};
use at1w_measure::{Choice, Options, Price, Report, Rival, journal_of, measure, page};
use clap::{Args, ValueEnum};

use super::pack::LevelName;
use crate::Global;
use crate::failure::{Failure, Reported, Result, report_error, report_warning};
use crate::output::{is_stdout, json, to_stdout};
use crate::progress::Bar;
use crate::sample::Sample;

/// Measure how small files of weights become, and make a report of it to show to others
///
/// Packs each file into a scratch folder, reads everything back, verifies it, and compares it with
/// the original byte for byte. The report has the sizes, which are those that 'at1w pack' writes,
/// by dtype, by kind of tensor and by model; the speeds; what several files share; and what hardly
/// becomes smaller, and why. The sources are only read.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Measure {
    /// .safetensors files, directories (repositories, hub caches, folders of them), stores
    /// (STORE, STORE#NS/NAME@REV), and addresses of files and buckets
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The levels to measure; the default level is reported by tensor, or else the first
    #[arg(short, long, value_name = "LEVEL", value_delimiter = ',', default_value = "default")]
    level: Vec<LevelName>,
    /// Estimate from a sample: 10% of all tensors, or 10GB; headers are read in any case
    #[arg(long, value_name = "PART")]
    sample: Option<Sample>,
    /// Another number chooses another sample
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    seed: u64,
    /// Other compressors to compare with, over the same bytes; xz takes minutes for each GB
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    against: Vec<RivalName>,
    /// The price of storing a TB for a month: USD:23
    #[arg(long, value_name = "PRICE")]
    price: Option<Price>,
    /// A file for the report: .html, .md, .txt or .json, several with -o each; - is standard
    /// output, as text [default: -]
    #[arg(short, long, value_name = "OUT")]
    output: Vec<PathBuf>,
    /// Replace a report that exists
    #[arg(long, short)]
    force: bool,
    /// The folder in which each packed file lies for a while [default: that of the system]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Go on with an interrupted run that had the same -o: files that have not changed are not
    /// measured again
    #[arg(long, requires = "output", conflicts_with = "sample")]
    resume: bool,
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The scratch folder needs room for the largest file, and for a second one where the source is a
store or an address. A file that cannot be read, is not what its
name says, or changes while it is read is listed in the report, the rest is measured, and the exit
code is 5. An interrupted run reports what it has measured, and keeps a journal beside the first
report, from which --resume goes on.

Examples:
  at1w measure ~/models
  at1w measure ~/models --price USD:23 -o report.html -o report.json
  at1w measure /mnt/weights --sample 10GB
  at1w measure ~/models --against xz,zstd -o report.html
  at1w measure model.safetensors --level fast,default,max
  at1w measure models#lab/minilm
  at1w measure s3://bucket/weights --sample 1%
  at1w measure ~/.cache/huggingface/hub --json | jq .total";

/// Another compressor, as it is typed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum RivalName {
    /// xz -6
    Xz,
    /// zstd -3
    Zstd,
    /// zipnn, which python3 has to be able to import
    Zipnn,
}

impl From<RivalName> for Rival {
    fn from(name: RivalName) -> Self {
        match name {
            RivalName::Xz => Self::Xz,
            RivalName::Zstd => Self::Zstd,
            RivalName::Zipnn => Self::Zipnn,
        }
    }
}

/// A format of the report.
#[derive(Clone, Copy)]
enum Format {
    Html,
    Markdown,
    Text,
    Json,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            _ if is_stdout(path) => Ok(Self::Text),
            Some("html" | "htm") => Ok(Self::Html),
            Some("md") => Ok(Self::Markdown),
            Some("txt") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            _ => Err(Failure::Usage(format!(
                "{}: a report ends in .html, .md, .txt or .json",
                path.display()
            ))),
        }
    }

    fn write(self, report: &Report) -> String {
        match self {
            Self::Html => page::html(&page::document(report)),
            Self::Markdown => page::markdown(&page::document(report)),
            Self::Text => page::text(&page::document(report)),
            Self::Json => {
                let json = serde_json::to_string_pretty(report);
                json.expect("maps have strings as keys") + "\n"
            }
        }
    }
}

impl Measure {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let formats =
            self.output.iter().map(|path| Format::of(path)).collect::<Result<Vec<_>>>()?;
        let outputs: Vec<(&PathBuf, Format)> = self.output.iter().zip(formats).collect();
        let twice = |at: usize| self.output[..at].contains(&self.output[at]);
        if let Some(at) = (0..self.output.len()).find(|&at| twice(at)) {
            let path = self.output[at].display();
            return Err(Failure::Usage(format!("{path}: two reports cannot be written there")));
        }
        if self.json && self.output.iter().any(|path| is_stdout(path)) {
            let both = "-o - and --json both write to standard output: leave one of them out";
            return Err(Failure::Usage(both.into()));
        }
        let journal = self.journal();
        // The report of the run that goes on has its place.
        let goes_on = self.resume && journal.as_ref().is_some_and(|path| path.is_file());
        let replace = self.force || goes_on;
        // Hours of work are not for a report that cannot be written.
        for (path, _) in &outputs {
            check(path, replace)?;
        }
        let bar = Bar::new(global.quiet)?;
        let share = |len| self.sample.map_or(1.0, |sample| sample.share_of(len));
        let sample = self.sample.map(|_| Choice::new(&share, self.seed));
        let report = measure(&self.paths, &self.options(&bar)?.sample(sample));
        let report =
            report.map_err(|fault| Failure::Other(format!("{}: {}", fault.path, fault.message)))?;
        for fault in &report.faults {
            let message = format!("{}: {}", fault.path, fault.message);
            bar.suspend(|| if fault.damaged { report_error } else { report_warning }(&message));
        }
        drop(bar);
        for (path, format) in &outputs {
            write(path, &format.write(&report), replace)?;
        }
        // The journal is needed until the last report is written.
        if let (true, Some(journal)) = (report.complete, &journal) {
            let path = journal.clone();
            fs::remove_file(journal).map_err(|cause| Error::Io { path, cause })?;
        }
        if self.json {
            json(&report)?;
        } else if outputs.is_empty() {
            write(Path::new("-"), &Format::Text.write(&report), replace)?;
        }
        outcome(&report)
    }

    fn options<'a>(&self, progress: &'a dyn Progress) -> Result<Options<'a>> {
        let mut levels: Vec<Level> = self.level.iter().map(|&level| level.into()).collect();
        levels.sort();
        levels.dedup();
        let mut against: Vec<Rival> = self.against.iter().map(|&name| name.into()).collect();
        against.sort();
        against.dedup();
        if let Some(missing) = against.iter().find(|rival| !rival.is_there()) {
            let name = missing.name();
            return Err(Failure::Other(format!(
                "{name}: python3 cannot import it: install it (pip install {name}), or leave it out"
            )));
        }
        let options = Options::new()
            .levels(levels)
            .against(against)
            .journal(self.journal().map(|journal| (journal, self.resume)))
            .price(self.price.clone())
            .commands(vec![format!("at1w {}", command_line())])
            .progress(progress);
        match &self.scratch {
            Some(scratch) if !scratch.is_dir() => {
                Err(Failure::Usage(format!("{}: there is no such folder", scratch.display())))
            }
            Some(scratch) => Ok(options.scratch(scratch.clone())),
            None => Ok(options),
        }
    }

    /// Returns the journal: beside the first report that is a file. A sample keeps none.
    fn journal(&self) -> Option<PathBuf> {
        let report = self.output.iter().find(|path| !is_stdout(path));
        report.filter(|_| self.sample.is_none()).map(|report| journal_of(report))
    }
}

/// Checks that a report can be written.
fn check(path: &Path, replace: bool) -> Result<()> {
    if is_stdout(path) {
        return Ok(());
    }
    if path.symlink_metadata().is_ok() && !replace {
        let shown = path.display();
        let exists = format!("{shown} exists already: --force replaces it, -o names another place");
        return Err(Failure::Other(exists));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.is_none_or(Path::is_dir) {
        true => Ok(()),
        false => Err(Error::NoFolder(folder.unwrap_or(path).to_owned()).into()),
    }
}

fn write(path: &Path, report: &str, replace: bool) -> Result<()> {
    if is_stdout(path) {
        return to_stdout(|out| out.write_all(report.as_bytes()));
    }
    let write = |out: &mut dyn Write| out.write_all(report.as_bytes()).map_err(Error::Write);
    Ok(write_atomically(path, replace, |out| write(out))?)
}

/// Returns how the run ended, after the report was written.
fn outcome(report: &Report) -> Result<()> {
    if !report.complete {
        return Err(Error::Cancelled.into());
    }
    let worst = report.faults.iter().map(|fault| match fault.damaged {
        true => Reported::Damaged,
        false if report.total.files == 0 => Reported::Failed,
        false => Reported::Incomplete,
    });
    worst.max().map_or(Ok(()), |worst| Err(Failure::Reported(worst)))
}

/// Returns the arguments of the command, as a shell takes them.
fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quoted = |argument: String| match !argument.is_empty() && argument.chars().all(plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    };
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(argument.to_string_lossy().into_owned()));
    arguments.collect::<Vec<_>>().join(" ")
}
