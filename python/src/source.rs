//! Sources of the bytes of a file, which count the bytes they read.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use at1w_container::ReadAt;
use pyo3::pybacked::PyBackedBytes;

/// The number of bytes read.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, range: &Range<u64>) {
        self.0.fetch_add(range.end.saturating_sub(range.start), Ordering::Relaxed);
    }
}

/// A source that counts the bytes read from it.
pub(crate) struct Counted<S>(pub(crate) S, pub(crate) Count);

impl<S: ReadAt> ReadAt for Counted<S> {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.1.add(&range);
        self.0.read_at(range)
    }

    fn read_into(&self, range: Range<u64>, buffer: Vec<u8>) -> io::Result<Cow<'_, [u8]>> {
        self.1.add(&range);
        self.0.read_into(range, buffer)
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        ranges.iter().for_each(|range| self.1.add(range));
        self.0.read_ranges(ranges)
    }

    fn request_cost(&self) -> u64 {
        self.0.request_cost()
    }
}

/// The bytes of a Python object.
pub(crate) struct Bytes(pub(crate) PyBackedBytes);

impl ReadAt for Bytes {
    fn size(&self) -> io::Result<u64> {
        self.0.as_ref().size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.0.as_ref().read_at(range)
    }
}
