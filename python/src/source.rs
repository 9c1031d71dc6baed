//! Sources of the bytes of a file, which count the bytes they read.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use at1w_container::ReadAt;
use at1w_remote::{GAP, coalesced};
use pyo3::prelude::*;
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

    fn will_read(&self, ranges: &[Range<u64>]) {
        self.0.will_read(ranges);
    }

    fn request_cost(&self) -> u64 {
        self.0.request_cost()
    }
}

/// A file that Python reads: `read(starts, ends)` returns the bytes of each range.
pub(crate) struct Ranges {
    pub(crate) len: u64,
    pub(crate) read: Py<PyAny>,
}

impl ReadAt for Ranges {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let mut answers = self.read_ranges(&[range])?;
        answers.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        if ranges.iter().any(|range| range.start > range.end || range.end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fetch = |ranges: &[Range<u64>]| {
            let starts: Vec<_> = ranges.iter().map(|range| range.start).collect();
            let ends: Vec<_> = ranges.iter().map(|range| range.end).collect();
            Python::attach(|py| {
                let answers = self.read.call1(py, (starts, ends))?;
                answers.extract::<Vec<PyBackedBytes>>(py)
            })
            .map_err(io::Error::from)
        };
        Ok(coalesced(ranges, fetch)?.into_iter().map(Cow::Owned).collect())
    }

    fn request_cost(&self) -> u64 {
        GAP
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
