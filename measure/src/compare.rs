//! Comparing a file with what comes back of it, front to back.

use std::fs::File;
use std::io::{self, Write};
use std::mem;

use at1w_container::ReadAt;

/// The bytes that are compared at a time, so that they are still in the cache: whole elements.
pub(crate) const PIECE_LEN: usize = 256 << 10;

/// Returns the place of the first byte that is another, of two pieces of one length.
pub(crate) fn difference(a: &[u8], b: &[u8]) -> Option<u64> {
    let equal = || a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64;
    (a != b).then(equal)
}

/// A sink that compares what is written to it with a source.
pub(crate) struct Compare<'a> {
    source: &'a File,
    at: u64,
    buffer: Vec<u8>,
    /// The offset of the first byte that is another.
    pub(crate) different: Option<u64>,
}

impl<'a> Compare<'a> {
    pub(crate) fn new(source: &'a File) -> Self {
        Self { source, at: 0, buffer: Vec::new(), different: None }
    }
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(PIECE_LEN) {
            let range = self.at..self.at + piece.len() as u64;
            let expected = self.source.read_into(range, mem::take(&mut self.buffer))?;
            if let Some(at) = difference(&expected, piece) {
                self.different = Some(self.at + at);
                return Err(io::Error::other("the restored file is another"));
            }
            self.at += piece.len() as u64;
            self.buffer = expected.into_owned();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
