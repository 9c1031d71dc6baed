//! Random access to one object.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use at1w_container::ReadAt;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::ahead::{Ahead, Arrival, arrival};
use crate::cache::Unfinished;
use crate::error::{Error, Result};
use crate::objects::{Objects, SIDE_BY_SIDE};
use crate::options::{Cancelled, UrlOptions};
use crate::origin::{First, Opened, Origin};
use crate::ranges::{GAP, gather, plan};
use crate::runtime::{self, block_on_unless};

/// The number of first bytes that are kept: everybody who opens a file looks at them again.
const FIRST_BYTES: u64 = 64;

/// An object that is read at any offset. It is read as a file where it is one.
pub struct RemoteFile {
    origin: Arc<Origin>,
    len: u64,
    etag: Option<Arc<str>>,
    file: Option<File>,
    /// The parts that were read on opening, with their offsets.
    kept: Mutex<Vec<(u64, Bytes)>>,
    ahead: Ahead,
    cancelled: Cancelled,
    /// The copy on this disk that is made of what is read.
    copy: Option<Arc<Unfinished>>,
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.address();
        f.debug_struct("RemoteFile").field("address", &shown).finish_non_exhaustive()
    }
}

impl RemoteFile {
    /// Opens an object by a first part of it. If another object takes its place while it is read,
    /// reading fails.
    pub(crate) fn open(
        origin: Origin,
        first: First,
        options: &UrlOptions,
    ) -> Result<(Self, Opened)> {
        let cancelled = options.cancelled.clone();
        let opened = block_on_unless(&cancelled, origin.open(first))?;
        let mut file = Self::new(origin, opened.len, opened.etag.clone(), cancelled);
        let cache = options.cache.as_ref().filter(|_| options.keep);
        file.copy = cache.and_then(|cache| cache.begin(opened.len)).map(Arc::new);
        if let Some(copy) = &file.copy {
            copy.keep(opened.start, &opened.bytes);
        }
        file.keep(opened.start, opened.bytes.clone());
        Ok((file, opened))
    }

    /// Opens an object of a known length that is never replaced, by no request.
    pub fn known(objects: Arc<Objects>, key: &str, len: u64) -> Self {
        let file = objects.file(key).and_then(|path| File::open(path).ok());
        let origin = Origin::Object { objects, key: key.into() };
        Self { file, ..Self::new(origin, len, None, Cancelled::NEVER) }
    }

    /// Makes one of a file that all of an object was downloaded to.
    pub(crate) fn downloaded(origin: Origin, file: File, len: u64) -> Self {
        Self { file: Some(file), ..Self::new(origin, len, None, Cancelled::NEVER) }
    }

    fn new(origin: Origin, len: u64, etag: Option<String>, cancelled: Cancelled) -> Self {
        Self {
            origin: Arc::new(origin),
            len,
            etag: etag.map(Into::into),
            file: None,
            kept: Mutex::default(),
            ahead: Ahead::default(),
            cancelled,
            copy: None,
        }
    }

    /// Returns the address for messages, without what may be secret in it.
    pub fn address(&self) -> String {
        self.origin.shown()
    }

    /// Whether all of it was downloaded, because the server sends no ranges.
    pub fn is_downloaded(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the mark that changes with the content, where the server has one.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Says what the content is: the copy of all of it that is made while it is read gets this name
    /// in the cache. Without a name there is none.
    pub(crate) fn keep_as(&self, key: Option<&str>) {
        if let Some(copy) = &self.copy {
            copy.set_key(key);
        }
    }

    fn keep(&self, start: u64, bytes: Bytes) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push((start, bytes));
    }

    fn kept(&self, range: &Range<u64>) -> Option<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(range.start.checked_sub(*start)?).ok()?;
            let to = usize::try_from(range.end.checked_sub(*start)?).ok()?;
            bytes.get(from..to).map(<[u8]>::to_vec)
        })
    }

    fn check(&self, range: &Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn request(&self, range: Range<u64>) -> impl Future<Output = Result<Bytes>> + use<> {
        let (origin, len, etag) = (self.origin.clone(), self.len, self.etag.clone());
        let copy = self.copy.clone();
        async move {
            let start = range.start;
            let bytes = origin.read(range, len, etag.as_deref()).await?;
            if let Some(copy) = copy {
                copy.keep(start, &bytes);
            }
            Ok(bytes)
        }
    }

    /// Sends the request for a piece ahead; none where no thread could be started.
    fn send(&self, range: Range<u64>) -> Option<Arrival> {
        Some(arrival(&runtime::current().ok()?.runtime, self.request(range)))
    }

    /// Finds what is here already of a range, or on its way.
    fn find(&self, range: &Range<u64>) -> Found {
        if let Some(bytes) = self.kept(range) {
            return Found::Here(bytes);
        }
        match self.ahead.take(range, &|range| self.send(range)) {
            Some(pieces) => Found::Coming(pieces),
            None => Found::Missing,
        }
    }
}

/// Where the bytes of a range come from.
enum Found {
    Here(Vec<u8>),
    Coming(Vec<(Range<u64>, Arrival)>),
    Missing,
}

impl ReadAt for RemoteFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.read_into(range, Vec::new())
    }

    fn read_into(&self, range: Range<u64>, buffer: Vec<u8>) -> io::Result<Cow<'_, [u8]>> {
        self.check(&range)?;
        if let Some(file) = &self.file {
            return file.read_into(range, buffer);
        }
        let mut answers = self.read_ranges(&[range])?;
        answers.pop().ok_or_else(|| io::Error::other("no answer came"))
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        let wanted: Vec<_> = ranges.iter().map(|range| (self, range.clone())).collect();
        Ok(read_many(&wanted)?.into_iter().map(Cow::Owned).collect())
    }

    fn will_read(&self, ranges: &[Range<u64>]) {
        let missing = |range: &&Range<u64>| self.check(range).is_ok() && self.kept(range).is_none();
        let ranges: Vec<_> = ranges.iter().filter(missing).cloned().collect();
        if self.file.is_none() {
            self.ahead.announce(&ranges, &|range| self.send(range));
        }
    }

    fn request_cost(&self) -> u64 {
        if self.file.is_some() { 0 } else { GAP }
    }
}

/// Reads ranges of several objects of one store together: neighbours are merged, long ranges are
/// split, and the requests are sent side by side.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] for a range that is not within its object, and those of the
/// store.
pub fn read_many(wanted: &[(&RemoteFile, Range<u64>)]) -> io::Result<Vec<Vec<u8>>> {
    for (file, range) in wanted {
        file.check(range)?;
    }
    let Some(&(first, _)) = wanted.first() else { return Ok(Vec::new()) };
    if wanted.iter().all(|(file, _)| file.file.is_some()) {
        let read = |(file, range): &(&RemoteFile, Range<u64>)| {
            Ok(file.read_at(range.clone())?.into_owned())
        };
        return wanted.iter().map(read).collect();
    }
    let found: Vec<_> = wanted.iter().map(|(file, range)| file.find(range)).collect();
    // The requests for what is missing of each object.
    let mut files: Vec<(&RemoteFile, Vec<Range<u64>>)> = Vec::new();
    for ((file, range), found) in wanted.iter().zip(&found) {
        if !matches!(found, Found::Missing) {
            continue;
        }
        match files.iter_mut().find(|(other, _)| std::ptr::eq(*other, *file)) {
            Some((_, ranges)) => ranges.push(range.clone()),
            None => files.push((file, vec![range.clone()])),
        }
    }
    for (_, ranges) in &mut files {
        *ranges = plan(ranges);
    }
    let requests = files
        .iter()
        .flat_map(|(file, ranges)| ranges.iter().map(|range| file.request(range.clone())));
    let work = stream::iter(requests.collect::<Vec<_>>()).buffered(SIDE_BY_SIDE).try_collect();
    let answers: Vec<Bytes> = block_on_unless(&first.cancelled, work)?;
    let mut rest = &answers[..];
    let mut by_file = Vec::with_capacity(files.len());
    for (file, ranges) in &files {
        let (answers, after) = rest.split_at(ranges.len());
        by_file.push((*file, &ranges[..], answers));
        rest = after;
    }
    let mut all = Vec::with_capacity(wanted.len());
    for ((file, range), found) in wanted.iter().zip(found) {
        all.push(match found {
            Found::Here(bytes) => bytes,
            Found::Coming(pieces) => wait(file, range, pieces)?,
            Found::Missing => {
                let file = by_file.iter().find(|(other, ..)| std::ptr::eq(*other, *file));
                file.map_or_else(Vec::new, |(_, requests, answers)| {
                    gather(range, requests, answers)
                })
            }
        });
        if range.start == 0 && (1..=FIRST_BYTES).contains(&range.end) && file.file.is_none() {
            file.keep_first(all.last().map_or(&[], Vec::as_slice));
        }
    }
    Ok(all)
}

impl RemoteFile {
    fn keep_first(&self, bytes: &[u8]) {
        if self.kept(&(0..bytes.len() as u64)).is_none() {
            self.keep(0, Bytes::copy_from_slice(bytes));
        }
    }
}

/// Waits for pieces that are on their way, and copies a range out of them.
fn wait(
    file: &RemoteFile,
    range: &Range<u64>,
    pieces: Vec<(Range<u64>, Arrival)>,
) -> io::Result<Vec<u8>> {
    let (ranges, arrivals): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
    let arrived = async { Ok(futures_util::future::join_all(arrivals).await) };
    let arrived = block_on_unless(&file.cancelled, arrived)?;
    let failed = |error: Arc<Error>| {
        // Whoever reads it again asks for it again.
        file.ahead.forget(range);
        io::Error::new(error.kind(), error)
    };
    let answers: Vec<_> = arrived.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Ok(gather(range, &ranges, &answers))
}
