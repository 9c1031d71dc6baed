//! A run: all sources are measured one after the other, and the report is made of the results.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use at1w_container::{Level, Progress};

use crate::families;
use crate::fault::Fault;
use crate::journal::Journal;
use crate::machine::Machine;
use crate::others::Others;
use crate::poor;
use crate::price::{Money, Price};
use crate::report::{Fetched, Report, Whole};
use crate::result::FileResult;
use crate::rival::Rival;
use crate::sample::{self, Choice, Sample, Sampled};
use crate::source::{SourceFile, Sources};
use crate::totals;
use crate::versions::{self, Versions};
use crate::whole::{self, Failed, Work};

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
    /// Other compressors to compare with, none of them twice. Of a sample they get the same chunks,
    /// up to 64 of a file in one stream.
    pub against: Vec<Rival>,
    /// A file in which each result is noted, and whether those are taken over that an earlier run
    /// noted; not for a sample.
    pub journal: Option<(PathBuf, bool)>,
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
            against: Vec::new(),
            journal: None,
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

    /// Sets the compressors to compare with.
    #[must_use]
    pub fn against(self, against: Vec<Rival>) -> Self {
        Self { against, ..self }
    }

    /// Sets the file in which each result is noted, and whether to go on with an earlier run.
    #[must_use]
    pub fn journal(self, journal: Option<(PathBuf, bool)>) -> Self {
        Self { journal, ..self }
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
///
/// # Errors
/// A [`Fault`] of the journal, which cannot be written.
pub fn measure(paths: &[PathBuf], options: &Options<'_>) -> Result<Report, Fault> {
    let start = Instant::now();
    let found = Sources::find(paths, options.progress);
    let complete = found.is_ok();
    let sources = found.unwrap_or_default();
    let mut levels = options.levels.clone();
    // The one that is reported by tensor comes first.
    levels.sort_by_key(|&level| level != Level::Default);
    let results = match options.sample {
        Some(choice) => sampled(sources, &levels, choice, options),
        None => whole(sources, &levels, options)?,
    };
    let versions = results.versions.filter(|_| complete);
    let results = Results { complete: complete && results.complete, versions, ..results };
    Ok(report(results, &levels, start.elapsed().as_secs_f64(), options))
}

fn whole(sources: Sources, levels: &[Level], options: &Options<'_>) -> Result<Results, Fault> {
    let Options { against, scratch, progress, .. } = options;
    // Each level packs all bytes and reads them back; another compressor reads both forms.
    progress.begin(2 * (levels.len() + against.len()) as u64 * sources.len());
    let Sources { files: listed, others, mut faults, left_out } = sources;
    let mut journal = match &options.journal {
        Some((path, resume)) => Some(open(path, *resume, levels, against)?),
        None => None,
    };
    let to_fetch = fetched_file(&listed);
    let (mut files, mut complete) = (Vec::new(), true);
    for (number, file) in listed.iter().enumerate() {
        if let Some(result) = journal.as_mut().and_then(|journal| journal.find(file)) {
            files.push(result);
            continue;
        }
        let fetches = to_fetch == Some(number);
        let work = Work { levels, against, fetches, scratch, progress: *progress };
        match whole::measure(file, work) {
            Ok(result) => {
                // Without a note the file is measured again, and nothing is lost but time.
                let _ = journal.as_mut().map(|journal| journal.add(file, &result));
                files.push(result);
            }
            Err(Failed::Fault(fault)) => faults.push(fault),
            Err(Failed::Cancelled) => {
                complete = false;
                break;
            }
        }
    }
    faults.extend(problems(&files));
    let versions = complete.then(|| versions_of(&listed, &files, u64::MAX, *progress)).flatten();
    let complete = complete && versions.is_some();
    let found = listed.len() as u64;
    Ok(Results { files, found, others, faults, left_out, sample: None, versions, complete })
}

/// Finds the versions among the files that were measured, for which at most so many bytes are read
/// beside headers; `None` if the caller asked to stop.
fn versions_of(
    listed: &[SourceFile],
    files: &[FileResult],
    budget: u64,
    progress: &dyn Progress,
) -> Option<Versions> {
    let measured: HashSet<_> = files.iter().map(|file| &file.path).collect();
    let measured: Vec<_> = listed.iter().filter(|file| measured.contains(&file.path)).collect();
    versions::find(&measured, budget, progress).ok()
}

/// Returns what other compressors could not do.
fn problems(files: &[FileResult]) -> impl Iterator<Item = Fault> {
    let fault = |path: &String, problem: &String| Fault {
        path: path.clone(),
        message: problem.clone(),
        damaged: false,
    };
    files.iter().flat_map(move |file| file.problems.iter().map(move |p| fault(&file.path, p)))
}

/// Opens a journal, whose results are only for a run like this one.
fn open(path: &Path, resume: bool, levels: &[Level], against: &[Rival]) -> Result<Journal, Fault> {
    let levels: Vec<&str> = levels.iter().map(|&level| level.name()).collect();
    let settings = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"), "levels": levels, "against": against,
    });
    let opened = Journal::open(path, &settings.to_string(), resume);
    opened.map_err(|error| Fault::new(&path.display().to_string(), &error))
}

/// Returns the number of the file from which single tensors are fetched: the largest of those whose
/// tensors may be in memory, or else the smallest.
fn fetched_file(files: &[SourceFile]) -> Option<usize> {
    const MOST: u64 = 256 << 20;
    let fits = |&(_, file): &(usize, &SourceFile)| file.len <= MOST;
    let largest = files.iter().enumerate().filter(fits).max_by_key(|(_, file)| file.len);
    largest.map(|(number, _)| number)
}

fn sampled(
    sources: Sources,
    levels: &[Level],
    choice: Choice<'_>,
    options: &Options<'_>,
) -> Results {
    let Sources { files, others, mut faults, left_out } = sources;
    let Options { against, scratch, .. } = options;
    let listed = files;
    let Sampled { files, faults: found, sample, budget, complete } =
        sample::measure(&listed, levels, choice, against, scratch, options.progress);
    faults.extend(found);
    faults.extend(problems(&files));
    let versions = || versions_of(&listed, &files, budget, options.progress);
    let versions = complete.then(versions).flatten();
    let complete = complete && versions.is_some();
    let (found, sample) = (listed.len() as u64, Some(sample));
    Results { files, found, others, faults, left_out, sample, versions, complete }
}

/// The results of a run.
struct Results {
    files: Vec<FileResult>,
    /// The number of files that were found.
    found: u64,
    others: Others,
    faults: Vec<Fault>,
    left_out: Vec<String>,
    sample: Option<Sample>,
    versions: Option<Versions>,
    complete: bool,
}

fn report(results: Results, levels: &[Level], seconds: f64, options: &Options<'_>) -> Report {
    let Results { files, found, others, mut faults, left_out, sample, versions, complete } =
        results;
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    let margin = sample.as_ref().map(|sample| sample.margin_bytes);
    let total = totals::total(&files, &others, margin);
    let whole = sample.is_none();
    let price = options.price.as_ref();
    let mut names: Vec<Level> = levels.to_vec();
    names.sort();
    let names: Vec<&str> = names.into_iter().map(Level::name).collect();
    let rivals: Vec<&str> = options.against.iter().map(|rival| rival.name()).collect();
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
        found_files: found,
        sample,
        level: levels.first().map_or("default", |&level| level.name()).into(),
        money: price.map(|price| Money::of(price, total.raw_bytes, total.packed_bytes)),
        total,
        levels: totals::levels(&files, &names),
        against: totals::against(&files, &rivals),
        fetched: fetched(&files),
        fetches: files.iter().flat_map(|file| file.fetches.clone()).collect(),
        dtypes: totals::dtypes(&files),
        kinds: totals::kinds(&files),
        models: totals::models(&files),
        header_bytes: files.iter().map(|file| file.header_bytes).sum(),
        packed_header_bytes: packed.saturating_sub(stored),
        exponents: totals::exponents(&files),
        poor: poor::find(&files, &others),
        families: whole.then(|| families::find(&files)),
        versions,
        others,
        left_out,
        faults,
    }
}

/// Returns the file that tensors were fetched from, with the times to read all of it back.
fn fetched(files: &[FileResult]) -> Option<Fetched> {
    let file = files.iter().find(|file| !file.fetches.is_empty())?;
    let whole = |name: &str, seconds| Whole { name: name.to_owned(), seconds };
    let ours = file.levels.first().map(|level| whole("at1w", level.read_seconds));
    let others = file.against.iter().map(|rival| whole(&rival.level, rival.read_seconds));
    Some(Fetched {
        path: file.path.clone(),
        raw_bytes: file.raw_bytes,
        whole: ours.into_iter().chain(others).collect(),
    })
}
