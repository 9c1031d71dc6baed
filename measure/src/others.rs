//! The files that are not measured, since packing carries them over.

use serde::Serialize;

/// The files that packing carries over as they are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Others {
    /// The number of files.
    pub files: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// The number of those that are packed already.
    pub packed_files: u64,
    /// The length of those that are packed already, in bytes.
    pub packed_file_bytes: u64,
}

impl Others {
    pub(crate) fn add(&mut self, len: u64) {
        self.files += 1;
        self.bytes += len;
    }

    pub(crate) fn add_packed(&mut self, len: u64) {
        self.add(len);
        self.packed_files += 1;
        self.packed_file_bytes += len;
    }
}
