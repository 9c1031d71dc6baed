//! The time that it takes to fetch one tensor, or a part of one, with the file not open before.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use at1w_container::{Error, OpenOptions, Progress, Reader, Slice, TensorInfo, Weights};
use serde::{Deserialize, Serialize};

/// The number of times that each fetch is repeated; the median counts.
const ROUNDS: usize = 5;

/// The time after which a fetch is not repeated any more.
const ENOUGH: Duration = Duration::from_millis(25);

/// The time that a fetch takes from a packed file, verified, and from the file as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fetch {
    /// The part: a small, median or large tensor, a slice or a row of the large one.
    pub part: String,
    /// The name of the tensor, and the slice.
    pub tensor: String,
    /// The bytes that are fetched.
    pub bytes: u64,
    /// The time from the packed file, in seconds.
    pub packed_seconds: f64,
    /// The time from the file as it is, in seconds.
    pub raw_seconds: f64,
}

/// Fetches tensors of a file and of its packed form, and compares them.
pub(crate) fn measure(
    reader: &Reader,
    packed: &Arc<File>,
    original: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Fetch>, Error> {
    let mut fetches = Vec::new();
    for (part, info, slice) in parts(reader.header().tensors()) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let (name, slice) = (info.name(), slice.as_deref());
        let parsed = slice.map(str::parse::<Slice>).transpose().map_err(|error| Error::Slice {
            name: name.into(),
            shape: info.shape().to_vec(),
            problem: error.to_string(),
        })?;
        let options = OpenOptions::new();
        let (packed_seconds, ours) = median(|| {
            let weights = Weights::new(Box::new(packed.clone()), &options)?;
            Ok(weights.read_to_vec(name, parsed.as_ref())?.1)
        })?;
        let (raw_seconds, theirs) = median(|| {
            let weights = Weights::open(original, &options)?;
            Ok(weights.read_to_vec(name, parsed.as_ref())?.1)
        })?;
        if ours != theirs {
            return Err(Error::Encoded { name: name.into(), chunk: 0 });
        }
        fetches.push(Fetch {
            part: part.into(),
            tensor: slice.map_or_else(|| name.to_owned(), |slice| format!("{name} [{slice}]")),
            bytes: ours.len() as u64,
            packed_seconds,
            raw_seconds,
        });
    }
    Ok(fetches)
}

/// Returns the parts to fetch, each with its slice.
fn parts(tensors: &[TensorInfo]) -> Vec<(&'static str, &TensorInfo, Option<String>)> {
    let mut sorted: Vec<&TensorInfo> = tensors.iter().filter(|t| t.raw_len() > 0).collect();
    sorted.sort_by_key(|tensor| tensor.raw_len());
    let (Some(small), Some(large)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    let mut parts = vec![
        ("small tensor", *small, None),
        ("median tensor", sorted[sorted.len() / 2], None),
        ("large tensor", *large, None),
    ];
    let rows = large.shape().first().copied().unwrap_or(0);
    if large.shape().len() > 1 && rows > 1 {
        let from = rows / 2;
        let to = (from + rows.div_ceil(10)).min(rows);
        parts.insert(2, ("a tenth of the large", *large, Some(format!("{from}:{to}"))));
        parts.insert(2, ("a row of the large", *large, Some(format!("{from}:{}", from + 1))));
    }
    parts
}

/// Repeats a fetch; returns the median of the times, in seconds, and the bytes.
fn median(mut fetch: impl FnMut() -> Result<Vec<u8>, Error>) -> Result<(f64, Vec<u8>), Error> {
    let begin = Instant::now();
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    while times.len() < ROUNDS && (times.is_empty() || begin.elapsed() < ENOUGH) {
        let start = Instant::now();
        bytes = fetch()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], bytes))
}
