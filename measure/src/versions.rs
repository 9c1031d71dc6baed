//! Files that are versions of others: a store keeps most of their tensors as differences. What that
//! saves is estimated from some tensors of each.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use at1w_container::{Error, PackBase, Progress, VersionEstimate, Weights};
use serde::Serialize;

use crate::source::SourceFile;

/// The number of tensors of a file that are looked at.
const SAMPLED: usize = 16;

/// The number of tensors that files are likened by, the largest of each.
const LIKENED: usize = 32;

/// The number of earlier files that one is held against.
const TRIED: usize = 3;

/// A file is a version where that saves one part in this of the tensors that both files have.
const LEAST: u64 = 64;

/// The number of versions that are listed.
const LISTED: usize = 20;

/// The worth of storing versions as differences, beside keeping each tensor once. It is estimated.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Versions {
    /// The number of files that are versions of an earlier one.
    pub files: u64,
    /// The number of tensors that both have.
    pub tensors: u64,
    /// The number of those that the estimate is made from.
    pub sampled_tensors: u64,
    /// The length of those that both have before packing, in bytes.
    pub raw_bytes: u64,
    /// The bytes that differences would save on top of packing, as estimated.
    pub saved_bytes: u64,
    /// The number of files that were not held against all that they are like: a sample reads no
    /// more than was asked for.
    pub left_out: u64,
    /// The versions, those that save most first. Longer lists are cut.
    pub versions: Vec<Version>,
}

/// A file that is a version of another one.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Version {
    /// The path.
    pub file: String,
    /// The path of the one that it is a version of.
    pub base: String,
    /// The number of tensors that both have.
    pub tensors: u64,
    /// The number of those that the estimate is made from.
    pub sampled_tensors: u64,
    /// The length of those that both have before packing, in bytes.
    pub raw_bytes: u64,
    /// The bytes that differences would save on top of packing, as estimated.
    pub saved_bytes: u64,
}

/// Estimates what is saved by storing files as differences to earlier ones that stand alone. A file
/// that cannot be read is passed over: the report names it elsewhere. Beside headers, at most
/// `budget` bytes are read.
///
/// # Errors
/// [`Error::Cancelled`].
pub(crate) fn find(
    files: &[&SourceFile],
    mut budget: u64,
    progress: &dyn Progress,
) -> Result<Versions, Error> {
    let mut all = Versions::default();
    // By the names and shapes of the largest tensors, the files that stand alone and have them.
    let mut alone: HashMap<u64, Vec<usize>> = HashMap::new();
    for (number, file) in files.iter().enumerate() {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let Ok(weights) = file.place.weights() else { continue };
        let marks = marks(&weights);
        drop(weights);
        let Best { version, left_out } =
            best(files, file, &like(&marks, &alone), &mut budget, progress)?;
        all.left_out += u64::from(left_out);
        let Some((base, estimate)) = version else {
            marks.iter().for_each(|(mark, _)| alone.entry(*mark).or_default().push(number));
            continue;
        };
        let version = Version {
            file: file.path.clone(),
            base: files[base].path.clone(),
            tensors: estimate.tensors,
            sampled_tensors: estimate.sampled,
            raw_bytes: estimate.raw_len,
            saved_bytes: estimate.saved,
        };
        all.files += 1;
        all.tensors += version.tensors;
        all.sampled_tensors += version.sampled_tensors;
        all.raw_bytes += version.raw_bytes;
        all.saved_bytes += version.saved_bytes;
        all.versions.push(version);
    }
    all.versions.sort_by_key(|version| Reverse(version.saved_bytes));
    all.versions.truncate(LISTED);
    Ok(all)
}

/// Returns what stands for the name and shape of each of the largest tensors, with its length.
fn marks(weights: &Weights) -> Vec<(u64, u64)> {
    let mut tensors: Vec<_> = weights.header().tensors().iter().collect();
    tensors.retain(|tensor| tensor.raw_len() > 0);
    tensors.sort_by_key(|tensor| Reverse(tensor.raw_len()));
    tensors.truncate(LIKENED);
    let mark = |name: &str, shape: &[u64]| {
        let mut hasher = DefaultHasher::new();
        (name, shape).hash(&mut hasher);
        hasher.finish()
    };
    tensors.iter().map(|tensor| (mark(tensor.name(), tensor.shape()), tensor.raw_len())).collect()
}

/// Returns the files that have at least half of the largest tensors, those that have most first,
/// and of these the latest.
fn like(marks: &[(u64, u64)], alone: &HashMap<u64, Vec<usize>>) -> Vec<usize> {
    let mut lens: HashMap<usize, u64> = HashMap::new();
    for (mark, len) in marks {
        for &file in alone.get(mark).into_iter().flatten() {
            *lens.entry(file).or_default() += len;
        }
    }
    let half = marks.iter().map(|(_, len)| len).sum::<u64>() / 2;
    let mut files: Vec<_> = lens.into_iter().filter(|&(_, len)| len > half).collect();
    files.sort_by_key(|&(file, len)| Reverse((len, file)));
    files.into_iter().map(|(file, _)| file).take(TRIED).collect()
}

/// The base of which a file is a version, if there is one.
#[derive(Default)]
struct Best {
    version: Option<(usize, VersionEstimate)>,
    /// Whether there were others that the budget was too small for.
    left_out: bool,
}

/// Holds a file against others.
fn best(
    files: &[&SourceFile],
    file: &SourceFile,
    others: &[usize],
    budget: &mut u64,
    progress: &dyn Progress,
) -> Result<Best, Error> {
    let mut best = Best::default();
    for &other in others {
        let estimate = || -> Result<Option<VersionEstimate>, Error> {
            let base = Arc::new(files[other].place.weights()?);
            let base = PackBase::new(base, Path::new(&files[other].path));
            base.estimate(&file.place.open()?, SAMPLED, *budget, progress)
        };
        let estimate = match estimate() {
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(_) => continue,
            Ok(None) => {
                best.left_out = true;
                continue;
            }
            Ok(Some(estimate)) => estimate,
        };
        *budget -= estimate.read_len;
        let wins = estimate.saved > estimate.raw_len / LEAST;
        if wins && best.version.is_none_or(|(_, best)| best.saved < estimate.saved) {
            best.version = Some((other, estimate));
        }
    }
    Ok(best)
}
