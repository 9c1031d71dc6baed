//! The outcome of packing or unpacking a repository.

use crate::error::fault::Fault;

/// The outcome of packing or unpacking a repository.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The packed files, sorted by path.
    pub packed: Vec<PackedFile>,
    /// The number of files that were carried over as they are.
    pub carried: u64,
    /// The length of those files together, in bytes.
    pub carried_len: u64,
    /// The files of the source that are missing or are not what they should be. Every file that is
    /// there was packed or carried over all the same.
    pub faults: Vec<Fault>,
    /// The paths in the source of the packed files that no index names as shards: programs look for
    /// these by their names.
    pub singles: Vec<String>,
}

/// A packed file of a repository.
#[derive(Debug)]
#[non_exhaustive]
pub struct PackedFile {
    /// The path before packing, relative, with forward slashes.
    pub path: String,
    /// The path in the packed repository.
    pub packed_path: String,
    /// The facts about the file.
    pub summary: crate::summary::Summary,
}

impl Summary {
    /// Counts a file that was carried over.
    pub(super) fn carry(&mut self, len: u64) {
        self.carried += 1;
        self.carried_len += len;
    }
}
