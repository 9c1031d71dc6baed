//! The packed form of a file, opened to be handed out.

use std::io;

use at1w_container::{Digest, ReadAt};

/// The packed form of a file.
pub(crate) struct Packed {
    pub(crate) source: Box<dyn ReadAt>,
    pub(crate) size: u64,
    pub(crate) etag: String,
}

impl Packed {
    pub(crate) fn new(source: Box<dyn ReadAt>) -> io::Result<Self> {
        let size = source.size()?;
        // The index and the trailer tell one generation from another of the same root.
        let tail = source.read_at(size.saturating_sub(128)..size)?.into_owned();
        let mark = Digest::of(&[&tail[..], &size.to_le_bytes()].concat());
        Ok(Self { source, size, etag: mark.to_string() })
    }
}
