//! The sources that are named on a command line of `pack` or `unpack`, and the target of each.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use at1w_container::Error;

use crate::commands::default_target;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::is_stdout;
use crate::report::Report;

/// A source and its target.
pub(crate) struct Job {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// Returns the work on all sources. `output` is the target of one, and of several, or of a pattern,
/// the directory for the targets, which is made if `make` says so. The target of a source for which
/// none is named is the one that `own_name` returns.
pub(crate) fn jobs(
    named: &[PathBuf],
    output: Option<&Path>,
    in_place: bool,
    make: bool,
    own_name: fn(&Path) -> Option<PathBuf>,
) -> Result<Vec<Job>> {
    let mut sources = Vec::new();
    for source in named {
        expand(source, &mut sources)?;
    }
    // So that the place of a target does not depend on how many there are today.
    let several = sources.len() != named.len()
        || sources.len() > 1
        || named.iter().zip(&sources).any(|(named, source)| named != source);
    match output.filter(|_| several) {
        Some(output) if is_stdout(output) => {
            return Err(Failure::Usage("-o - is for one file, and not for several".into()));
        }
        Some(output) if make => make_folder(output)?,
        _ => {}
    }
    let mut jobs: Vec<Job> = Vec::with_capacity(sources.len());
    let mut taken = HashMap::new();
    for source in sources {
        let target = match output {
            _ if in_place => source.clone(),
            Some(output) if several => {
                let own = default_target(&source, own_name(&source))?;
                output.join(own.file_name().unwrap_or_default())
            }
            Some(output) => output.to_owned(),
            None => default_target(&source, own_name(&source))?,
        };
        if let Some(other) = taken.insert(target.clone(), source.clone()) {
            let (source, target, other) = (source.display(), target.display(), other.display());
            let problem = format!("{other} and {source} would both become {target}");
            return Err(Failure::Usage(problem));
        }
        jobs.push(Job { source, target });
    }
    Ok(jobs)
}

/// Works on one source after the other. One of several that fails does not end the others.
pub(crate) fn each(
    jobs: &[Job],
    report: &mut Report<'_>,
    mut work: impl FnMut(&Job, &mut Report<'_>) -> Result<()>,
) -> Result<()> {
    for job in jobs {
        match work(job, report) {
            Err(failure) if jobs.len() > 1 => report.fail(&job.source, failure)?,
            done => done?,
        }
    }
    Ok(())
}

/// Adds a source, or the files that match it if there is no such file: a shell that finds none
/// leaves a pattern as it is, and some shells know no patterns.
fn expand(source: &Path, sources: &mut Vec<PathBuf>) -> Result<()> {
    let pattern = source.to_str().filter(|text| text.contains(['*', '?', '[']));
    // A question mark begins the query of an address.
    let pattern = pattern.filter(|_| input::address(source).is_none());
    let Some(pattern) = pattern.filter(|_| source.symlink_metadata().is_err()) else {
        sources.push(source.to_owned());
        return Ok(());
    };
    let invalid = |error: glob::PatternError| Failure::Usage(format!("{pattern}: {error}"));
    let before = sources.len();
    for found in glob::glob(pattern).map_err(invalid)? {
        sources.push(found.map_err(|error| Failure::Other(error.to_string()))?);
    }
    if sources.len() == before {
        return Err(Failure::Other(format!("{pattern}: matches nothing")));
    }
    Ok(())
}

/// Makes the directory for the targets of several sources, unless it is there.
fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(cause) => Err(Error::Io { path: path.to_owned(), cause }.into()),
        Ok(()) => Ok(()),
    }
}
