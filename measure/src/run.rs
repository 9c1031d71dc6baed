//! A run: all sources are measured one after the other, and the report is made of the results.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use at1w_container::{Level, Progress};

use crate::families;
use crate::fault::Fault;
use crate::level::level_name;
use crate::machine::Machine;
use crate::others::Others;
use crate::poor;
use crate::price::{Money, Price};
use crate::report::Report;
use crate::result::FileResult;
use crate::sample::{self, Choice, Sample, Sampled};
use crate::source::Sources;
use crate::totals;
use crate::whole::{self, Failed};

/// How to measure.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options<'a> {
    /// The levels to measure, none of them twice. The default level is reported by tensor, or else
    /// the first.
    pub levels: Vec<Level>,
    /// The folder in which each packed file lies for a while.
    pub scratch: PathBuf,
    /// The price of storage.
    pub price: Option<Price>,
    /// The choice of a sample; `None` measures everything.
    pub sample: Option<Choice<'a>>,
    /// The commands that make the report again.
    pub commands: Vec<String>,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            levels: vec![Level::Default],
            scratch: std::env::temp_dir(),
            price: None,
            sample: None,
            commands: Vec::new(),
            progress: &(),
        }
    }
}

impl<'a> Options<'a> {
    /// Returns the defaults: the default level, the temporary folder of the system, no price, and
    /// nobody is told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the levels to measure.
    #[must_use]
    pub fn levels(self, levels: Vec<Level>) -> Self {
        Self { levels, ..self }
    }

    /// Sets the folder in which each packed file lies for a while.
    #[must_use]
    pub fn scratch(self, scratch: PathBuf) -> Self {
        Self { scratch, ..self }
    }

    /// Sets the price of storage.
    #[must_use]
    pub fn price(self, price: Option<Price>) -> Self {
        Self { price, ..self }
    }

    /// Sets the choice of a sample.
    #[must_use]
    pub fn sample(self, sample: Option<Choice<'a>>) -> Self {
        Self { sample, ..self }
    }

    /// Sets the commands that make the report again.
    #[must_use]
    pub fn commands(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }

    /// Sets the listener that is told about the work.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}

/// Measures all files that `paths` lead to. Whatever is wrong with one of them is in the report,
/// and so is whether the run was interrupted.
pub fn measure(paths: &[PathBuf], options: &Options<'_>) -> Report {
    let start = Instant::now();
    let found = Sources::find(paths, options.progress);
    let complete = found.is_ok();
    let sources = found.unwrap_or_default();
    let mut levels = options.levels.clone();
    // The one that is reported by tensor comes first.
    levels.sort_by_key(|&level| level != Level::Default);
    let results = match options.sample {
        Some(choice) => sampled(sources, &levels, choice, options),
        None => whole(sources, &levels, options),
    };
    let results = Results { complete: complete && results.complete, ..results };
    report(results, &levels, start.elapsed().as_secs_f64(), options)
}

fn whole(sources: Sources, levels: &[Level], options: &Options<'_>) -> Results {
    // Each level packs all bytes and reads them back.
    options.progress.begin(2 * levels.len() as u64 * sources.len());
    let Sources { files: listed, others, mut faults, left_out } = sources;
    let (mut files, mut complete) = (Vec::new(), true);
    for file in &listed {
        match whole::measure(file, levels, &options.scratch, options.progress) {
            Ok(result) => files.push(result),
            Err(Failed::Fault(fault)) => faults.push(fault),
            Err(Failed::Cancelled) => {
                complete = false;
                break;
            }
        }
    }
    Results { files, others, faults, left_out, sample: None, complete }
}

fn sampled(
    sources: Sources,
    levels: &[Level],
    choice: Choice<'_>,
    options: &Options<'_>,
) -> Results {
    let Sources { files, others, mut faults, left_out } = sources;
    let Sampled { files, faults: found, sample, complete } =
        sample::measure(&files, levels, choice, options.progress);
    faults.extend(found);
    Results { files, others, faults, left_out, sample: Some(sample), complete }
}

/// The results of a run.
struct Results {
    files: Vec<FileResult>,
    others: Others,
    faults: Vec<Fault>,
    left_out: Vec<String>,
    sample: Option<Sample>,
    complete: bool,
}

fn report(results: Results, levels: &[Level], seconds: f64, options: &Options<'_>) -> Report {
    let Results { files, others, mut faults, left_out, sample, complete } = results;
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    let margin = sample.as_ref().map(|sample| sample.margin_bytes);
    let total = totals::total(&files, &others, margin);
    let whole = sample.is_none();
    let price = options.price.as_ref();
    let mut names: Vec<Level> = levels.to_vec();
    names.sort();
    let names: Vec<&str> = names.into_iter().map(level_name).collect();
    let groups = totals::groups(&files);
    let stored: u64 = groups.iter().map(|group| group.packed_bytes).sum();
    let packed: u64 = files.iter().map(FileResult::packed_bytes).sum();
    Report {
        version: env!("CARGO_PKG_VERSION").into(),
        time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        machine: Machine::this(),
        commands: options.commands.clone(),
        seconds,
        complete,
        sample,
        level: levels.first().map_or("default", |&level| level_name(level)).into(),
        money: price.map(|price| Money::of(price, total.raw_bytes, total.packed_bytes)),
        total,
        levels: totals::levels(&files, &names),
        dtypes: totals::dtypes(&files),
        kinds: totals::kinds(&files),
        models: totals::models(&files),
        header_bytes: files.iter().map(|file| file.header_bytes).sum(),
        packed_header_bytes: packed.saturating_sub(stored),
        exponents: totals::exponents(&files),
        poor: poor::find(&files, &others),
        families: whole.then(|| families::find(&files)),
        others,
        left_out,
        faults,
    }
}
