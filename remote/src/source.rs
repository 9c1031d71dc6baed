//! Random access to one object.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use at1w_container::ReadAt;

use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::ranges::{GAP, gather, plan};

/// An object that is read at any offset. It is read as a file where it is one.
#[derive(Debug)]
pub struct RemoteFile {
    objects: Arc<Objects>,
    key: String,
    len: u64,
    etag: Option<String>,
    file: Option<File>,
}

impl RemoteFile {
    /// Opens an object. If another one takes its place while it is read, reading fails.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] and [`Error::Failed`].
    pub fn open(objects: Arc<Objects>, key: &str) -> Result<Self> {
        let meta = objects.head(key)?;
        let meta = meta.ok_or_else(|| Error::NotFound(format!("{}/{key}", objects.address())))?;
        let etag = meta.etag.filter(|_| objects.root().is_none());
        Ok(Self { etag, ..Self::known(objects, key, meta.len) })
    }

    /// Opens an object of a known length that is never replaced, by no request.
    pub fn known(objects: Arc<Objects>, key: &str, len: u64) -> Self {
        let file = objects.file(key).and_then(|path| File::open(path).ok());
        Self { objects, key: key.into(), len, etag: None, file }
    }

    /// Returns the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn check(&self, range: &Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
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
    // The requests of each object.
    let mut files: Vec<(&RemoteFile, Vec<Range<u64>>)> = Vec::new();
    for (file, range) in wanted {
        match files.iter_mut().find(|(other, _)| std::ptr::eq(*other, *file)) {
            Some((_, ranges)) => ranges.push(range.clone()),
            None => files.push((file, vec![range.clone()])),
        }
    }
    for (_, ranges) in &mut files {
        *ranges = plan(ranges);
    }
    let requests = files.iter().flat_map(|(file, ranges)| {
        ranges.iter().map(|range| (&*file.key, file.etag.as_deref(), range.clone()))
    });
    let answers = first.objects.get_pieces(&requests.collect::<Vec<_>>())?;
    let mut rest = &answers[..];
    let mut by_file = Vec::with_capacity(files.len());
    for (file, ranges) in &files {
        let (answers, after) = rest.split_at(ranges.len());
        by_file.push((*file, &ranges[..], answers));
        rest = after;
    }
    let find = |(file, range): &(&RemoteFile, Range<u64>)| {
        let found = by_file.iter().find(|(other, ..)| std::ptr::eq(*other, *file));
        found.map_or_else(Vec::new, |(_, requests, answers)| gather(range, requests, answers))
    };
    Ok(wanted.iter().map(find).collect())
}
