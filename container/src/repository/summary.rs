//! The outcome of packing or unpacking a repository.

use super::left_out::LeftOut;
use crate::error::fault::Fault;

/// The outcome of packing or unpacking a repository.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The files that were packed or unpacked, sorted by path.
    pub packed: Vec<PackedFile>,
    /// The number of files that were carried over as they are.
    pub carried: u64,
    /// The number of files of the target that were left as they are: nothing has changed.
    pub unchanged: u64,
    /// The number of symbolic links, which stay links.
    pub links: u64,
    /// The length of all files before packing, in bytes. A file with several names counts once.
    pub original_len: u64,
    /// The length of all files after packing, in bytes, the manifest aside.
    pub packed_len: u64,
    /// The files and directories that were left out.
    pub left_out: Vec<LeftOut>,
    /// The paths in the target that were removed, since their sources are gone.
    pub pruned: Vec<String>,
    /// The number of files of the target that stay, though their sources are gone.
    pub gone: u64,
    /// The files of the source that are missing or are not what they should be. Every file that
    /// can be read was packed or carried over all the same.
    pub faults: Vec<Fault>,
    /// The paths in the source of the packed files that have another name now and that no index
    /// names as shards: programs look for these by their names.
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
    /// Counts the bytes of a file, unless it is another name of one that was counted.
    pub(super) fn count(&mut self, original_len: u64, packed_len: u64) {
        self.original_len = self.original_len.saturating_add(original_len);
        self.packed_len = self.packed_len.saturating_add(packed_len);
    }
}
