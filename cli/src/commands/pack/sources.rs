//! The sources that are named on the command line, and the target of each.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use at1w_container::Error;

use super::super::{AT1W, SAFETENSORS, default_target, with_suffix};
use crate::failure::{Failure, Result};

/// A source and its target.
pub(super) struct Job {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
}

/// Returns the work on all sources. `output` is the target of one, the directory for several.
pub(super) fn jobs(named: &[PathBuf], output: Option<&Path>, in_place: bool) -> Result<Vec<Job>> {
    let mut sources = Vec::new();
    for source in named {
        expand(source, &mut sources)?;
    }
    let several = sources.len() > 1;
    let mut jobs: Vec<Job> = Vec::with_capacity(sources.len());
    let mut taken = HashMap::new();
    for source in sources {
        let target = match output {
            _ if in_place => source.clone(),
            Some(output) if several => {
                output.join(own_name(&source)?.file_name().unwrap_or_default())
            }
            Some(output) => output.to_owned(),
            None => own_name(&source)?,
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

/// Returns the target of a source for which none is named.
fn own_name(source: &Path) -> Result<PathBuf> {
    let own = source.file_name().map(|_| match with_suffix(source, SAFETENSORS, AT1W) {
        Some(path) if !source.is_dir() => path,
        _ => appended(source),
    });
    default_target(source, own)
}

/// Adds a source, or the files that match it if there is no such file: a shell that finds none
/// leaves a pattern as it is, and some shells know no patterns.
fn expand(source: &Path, sources: &mut Vec<PathBuf>) -> Result<()> {
    let pattern = source.to_str().filter(|text| text.contains(['*', '?', '[']));
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

/// Returns `path` with `.at1w` after its name, which has no trailing slash.
fn appended(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(AT1W);
    path.with_file_name(name)
}

/// Makes the directory for the targets of several sources, unless it is there.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(cause) => Err(Error::Io { path: path.to_owned(), cause }.into()),
        Ok(()) => Ok(()),
    }
}
