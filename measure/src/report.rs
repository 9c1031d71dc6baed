//! The report of a run, as JSON has it.

use serde::Serialize;

use crate::families::Families;
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::machine::Machine;
use crate::others::Others;
use crate::poor::Poor;
use crate::price::Money;
use crate::sample::Sample;
use crate::totals::{DtypeRow, Exponents, KindRow, LevelRow, ModelRow, Total};
use crate::versions::Versions;

/// The report of a run. Sizes are in bytes, times in seconds. Fields are only ever added.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of at1w.
    pub version: String,
    /// The time when the report was made, in RFC 3339.
    pub time: String,
    /// The machine.
    pub machine: Machine,
    /// The commands that make the report again.
    pub commands: Vec<String>,
    /// The time that measuring took.
    pub seconds: f64,
    /// Whether everything was measured; not so after an interruption.
    pub complete: bool,
    /// The number of files of weights that were found, of which the total has those that were
    /// measured.
    pub found_files: u64,
    /// The sample that the sizes are estimated from; `null` where everything was measured.
    pub sample: Option<Sample>,
    /// The level of all sizes but those of `levels`.
    pub level: String,
    /// Everything together.
    pub total: Total,
    /// What storing costs, where a price was given.
    pub money: Option<Money>,
    /// Each level that was measured.
    pub levels: Vec<LevelRow>,
    /// Other compressors over the same files.
    pub against: Vec<LevelRow>,
    /// The time that it takes to fetch a tensor; empty for a sample.
    pub fetches: Vec<Fetch>,
    /// The file that tensors were fetched from, and the times to decompress all of it.
    pub fetched: Option<Fetched>,
    /// The tensors by dtype.
    pub dtypes: Vec<DtypeRow>,
    /// The tensors by kind.
    pub kinds: Vec<KindRow>,
    /// The files by model.
    pub models: Vec<ModelRow>,
    /// The length of headers before packing.
    pub header_bytes: u64,
    /// The length of headers, indexes and trailers after packing.
    pub packed_header_bytes: u64,
    /// The files that packing carries over.
    pub others: Others,
    /// How often each exponent occurs, by dtype.
    pub exponents: Vec<Exponents>,
    /// The weights that hardly become smaller.
    pub poor: Vec<Poor>,
    /// The tensors that several files have; `null` for a sample, which does not tell.
    pub families: Option<Families>,
    /// The files that are versions of others; `null` for a run that was interrupted.
    pub versions: Option<Versions>,
    /// The paths that are no content of a repository, and are left out.
    pub left_out: Vec<String>,
    /// The paths that were not measured.
    pub faults: Vec<Fault>,
}

/// The file that tensors were fetched from.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fetched {
    /// The path.
    pub path: String,
    /// The length, in bytes.
    pub raw_bytes: u64,
    /// The time to read all of it back, by at1w and by other compressors.
    pub whole: Vec<Whole>,
}

/// The time to read all of a file back.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Whole {
    /// The compressor.
    pub name: String,
    /// The time, in seconds.
    pub seconds: f64,
}
