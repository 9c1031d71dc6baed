//! The sources that bytes are read from: a file, a mapped file, bytes in memory, or any other
//! [`ReadAt`].

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The largest range that memory is allocated for before the size of the file is known: longer than
/// any chunk, since asking for the size takes a few per cent of the time of a small read.
const SHORT: u64 = 1 << 20;

/// Random access to immutable bytes: the one thing that reading needs. Files, mapped files and
/// bytes in memory implement it; anything remote can.
///
/// # Examples
/// A store that answers requests for ranges:
///
/// ```
/// use std::{borrow::Cow, io, ops::Range};
///
/// use at1w_container::ReadAt;
///
/// struct Remote(Vec<u8>);
///
/// impl ReadAt for Remote {
///     fn size(&self) -> io::Result<u64> {
///         Ok(self.0.len() as u64)
///     }
///
///     fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
///         let range = range.start as usize..range.end as usize;
///         let bytes = self.0.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
///         Ok(Cow::Owned(bytes.to_vec()))
///     }
/// }
///
/// let remote = Remote(b"0123456789".to_vec());
/// assert_eq!(&*remote.read_at(2..5)?, b"234");
/// assert_eq!(remote.read_ranges(&[0..1, 9..10])?.concat(), b"09");
/// # Ok::<(), io::Error>(())
/// ```
pub trait ReadAt: Send + Sync {
    /// Returns the number of bytes.
    fn size(&self) -> io::Result<u64>;

    /// Returns exactly the bytes of `range`, borrowed where they are in memory already.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the range is not within the bytes.
    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>>;

    /// [`ReadAt::read_at`] for a caller that reads again and again: bytes that must be copied are
    /// copied into `buffer`, which comes back as the owned result. Its content does not matter.
    fn read_into(&self, range: Range<u64>, buffer: Vec<u8>) -> io::Result<Cow<'_, [u8]>> {
        drop(buffer);
        self.read_at(range)
    }

    /// Returns the bytes of several ranges, in their order. A source whose requests are expensive
    /// merges neighbours.
    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        ranges.iter().map(|range| self.read_at(range.clone())).collect()
    }

    /// Tells a source that these ranges will be read soon, more or less in this order. One whose
    /// requests are expensive can send them at once, and hold what comes within bounds of its own.
    fn will_read(&self, ranges: &[Range<u64>]) {
        let _ = ranges;
    }

    /// Returns the number of bytes that cost as much to read as one more request: readers then read
    /// a little more at once, and hand their ranges over together. 0 for a source in memory or on a
    /// local disk, whose requests cost nothing.
    fn request_cost(&self) -> u64 {
        0
    }
}

/// Passes every method on to the source that is pointed to.
macro_rules! pass_on {
    ($($pointer:ident)*) => {$(
        impl<T: ReadAt + ?Sized> ReadAt for $pointer<T> {
            fn size(&self) -> io::Result<u64> {
                (**self).size()
            }

            fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
                (**self).read_at(range)
            }

            fn read_into(&self, range: Range<u64>, buffer: Vec<u8>) -> io::Result<Cow<'_, [u8]>> {
                (**self).read_into(range, buffer)
            }

            fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
                (**self).read_ranges(ranges)
            }

            fn will_read(&self, ranges: &[Range<u64>]) {
                (**self).will_read(ranges);
            }

            fn request_cost(&self) -> u64 {
                (**self).request_cost()
            }
        }
    )*};
}

pass_on!(Arc Box);

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let within = || {
            let (start, end) =
                (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
            self.get(start..end)
        };
        within().map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.as_slice().read_at(range)
    }
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.read_into(range, Vec::new())
    }

    fn read_into(&self, range: Range<u64>, mut buffer: Vec<u8>) -> io::Result<Cow<'_, [u8]>> {
        let len = range.end.saturating_sub(range.start);
        // No large memory is allocated for a range beyond the end. A short one fails as it is read.
        if !(1..=SHORT).contains(&len) && range.end > self.size()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let room = len.checked_add(SHIFT).ok_or(io::ErrorKind::OutOfMemory)?;
        buffer.try_reserve(room.saturating_sub(buffer.len()))?;
        // The system copies several times slower to memory that is a few bytes further into its
        // page than the bytes are into theirs, as large memory of an allocator often is.
        let ahead = (buffer.as_ptr() as u64).wrapping_sub(range.start) % PAGE;
        let is_slow = len >= PAGE as usize && (1..SHIFT as u64).contains(&ahead);
        let shift = if is_slow { SHIFT } else { 0 };
        buffer.resize(shift + len, 0);
        read_exact_at(self, &mut buffer[shift..], range.start)?;
        buffer.copy_within(shift.., 0);
        buffer.truncate(len);
        Ok(Cow::Owned(buffer))
    }
}

/// The length of a page of memory and of the cache of files, in bytes.
const PAGE: u64 = 4096;

/// The number of bytes by which memory is shifted away from slow copies.
const SHIFT: usize = 64;

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[n..];
        offset += n as u64;
    }
    Ok(())
}

/// A file mapped into memory: nothing is copied before it is decoded. A [`File`] is a little
/// slower, and has no conditions.
#[derive(Debug)]
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file.
    ///
    /// # Safety
    /// Nobody may write to the file or truncate it, in this process or another, while it is mapped:
    /// its bytes would change under references to them, and a truncated file ends the process with
    /// SIGBUS.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub unsafe fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: the mapping is private to this value and only read; the caller vouches that
        // nobody changes the file while it is mapped.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Self(map))
    }
}

impl ReadAt for Mapped {
    fn size(&self) -> io::Result<u64> {
        self.0.as_ref().size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.0.as_ref().read_at(range)
    }
}

/// Returns a conversion for errors of a source at an offset.
fn failed_at(offset: u64) -> impl Fn(io::Error) -> Error {
    move |cause| Error::Read { offset, cause }
}

/// [`ReadAt::size`] with the crate's error.
pub(crate) fn size(source: &dyn ReadAt) -> Result<u64> {
    source.size().map_err(failed_at(0))
}

/// [`ReadAt::read_at`] with the crate's error.
pub(crate) fn read(source: &dyn ReadAt, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
    whole(&range, source.read_at(range.clone()))
}

/// [`ReadAt::read_ranges`] with the crate's error.
pub(crate) fn read_ranges<'a>(
    source: &'a dyn ReadAt,
    ranges: &[Range<u64>],
) -> Result<Vec<Cow<'a, [u8]>>> {
    let offset = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let answers = source.read_ranges(ranges).map_err(failed_at(offset))?;
    if answers.len() != ranges.len() {
        let problem = "the source answered another number of ranges";
        return Err(failed_at(offset)(io::Error::other(problem)));
    }
    for (range, answer) in ranges.iter().zip(&answers) {
        check_len(range, answer)?;
    }
    Ok(answers)
}

/// Checks that a source answered with as many bytes as were asked for: a remote one may not.
fn whole<'a>(range: &Range<u64>, answer: io::Result<Cow<'a, [u8]>>) -> Result<Cow<'a, [u8]>> {
    let bytes = answer.map_err(failed_at(range.start))?;
    check_len(range, &bytes)?;
    Ok(bytes)
}

fn check_len(range: &Range<u64>, answer: &[u8]) -> Result<()> {
    let (len, asked) = (answer.len(), range.end.saturating_sub(range.start));
    if len as u64 == asked {
        return Ok(());
    }
    let problem = format!("the source answered {len} bytes where {asked} were asked for");
    Err(failed_at(range.start)(io::Error::new(io::ErrorKind::UnexpectedEof, problem)))
}

/// [`ReadAt::read_into`] with the crate's error.
pub(crate) fn read_into(
    source: &dyn ReadAt,
    range: Range<u64>,
    buffer: Vec<u8>,
) -> Result<Cow<'_, [u8]>> {
    whole(&range, source.read_into(range.clone(), buffer))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_read_wherever_memory_lies_in_its_page() {
        let data: Vec<u8> = (0..40_000u32).map(|i| ((i * i) >> 5) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        let mut buffer = Vec::new();
        // Each distance between the places in pages, whatever the first one is.
        for start in 0..PAGE {
            let range = start..start + 20_000;
            let read = file.read_into(range.clone(), buffer).unwrap();
            assert!(read[..] == data[range.start as usize..range.end as usize], "{start}");
            buffer = read.into_owned();
        }
        assert!(file.read_into(30_000..40_001, buffer).is_err());
    }
}
