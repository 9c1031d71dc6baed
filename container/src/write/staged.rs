//! Tensors in memory, laid out as a safetensors file.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use at1w_codec::Dtype;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::tensor_order::place_of;
use crate::error::header::HeaderError;
use crate::error::{Error, Result};
use crate::format::header::{Header, MAX_HEADER_LEN};
use crate::progress::{Progress, report};
use crate::source::ReadAt;

/// A tensor in memory, to be saved.
#[derive(Clone, Copy, Debug)]
pub struct StagedTensor<'a> {
    /// The name.
    pub name: &'a str,
    /// The dtype.
    pub dtype: Dtype,
    /// The shape, in elements.
    pub shape: &'a [u64],
    /// The bytes: little-endian, in row-major order.
    pub data: &'a [u8],
}

/// Tensors in memory, laid out as the `safetensors` library lays them out: by dtype, the widest
/// first, then by name. Nothing is copied. Write them to a file, or pack them by [`crate::pack`].
#[derive(Debug)]
pub struct Staged<'a> {
    /// The length of the header, and the header.
    head: Vec<u8>,
    /// The end of each tensor in the file, and its bytes.
    tensors: Vec<(u64, &'a [u8])>,
}

impl<'a> Staged<'a> {
    /// Lays tensors out. Metadata is kept in its order.
    ///
    /// # Errors
    /// [`Error::Safetensors`] if the file would not be valid: two tensors have one name, or the
    /// bytes of one do not fit its dtype and shape.
    pub fn new(
        mut tensors: Vec<StagedTensor<'a>>,
        metadata: Option<&[(String, String)]>,
    ) -> Result<Self> {
        tensors.sort_by_key(|t| (place_of(t.dtype), t.name));
        let json = serde_json::to_vec(&Fields { metadata, tensors: &tensors });
        let mut json = json.map_err(HeaderError::Json)?;
        json.resize(json.len().next_multiple_of(8), b' ');
        if json.len() as u64 > MAX_HEADER_LEN {
            return Err(HeaderError::TooLarge(json.len() as u64).into());
        }
        let header = Header::parse(json)?;
        let mut end = header.data_start();
        let tensors = tensors.iter().map(|t| {
            end += t.data.len() as u64;
            (end, t.data)
        });
        let tensors = tensors.collect();
        Ok(Self { head: [&header.prefix()[..], header.bytes()].concat(), tensors })
    }

    /// Returns the length of the file, in bytes.
    pub fn file_len(&self) -> u64 {
        self.tensors.last().map_or(self.head.len() as u64, |&(end, _)| end)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Write`] and [`Error::Cancelled`].
    pub fn write(&self, sink: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
        self.parts(0).try_for_each(|(_, part)| {
            sink.write_all(part).map_err(Error::Write)?;
            report(progress, part.len() as u64)
        })
    }

    /// Returns the header and the tensors from `first` on, each with its end in the file.
    fn parts(&self, first: usize) -> impl Iterator<Item = (u64, &[u8])> {
        let head = (self.head.len() as u64, self.head.as_slice());
        std::iter::once(head).chain(self.tensors[first..].iter().copied())
    }
}

impl ReadAt for Staged<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file_len())
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        if range.start > range.end || range.end > self.file_len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Cow::Borrowed(&[][..]);
        let first = self.tensors.partition_point(|&(end, _)| end <= range.start);
        for (end, part) in self.parts(first) {
            let start = end - part.len() as u64;
            let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
            let piece = &part[(from - start) as usize..(to - start) as usize];
            match bytes.is_empty() {
                true => bytes = Cow::Borrowed(piece),
                false => bytes.to_mut().extend_from_slice(piece),
            }
            if end >= range.end {
                break;
            }
        }
        Ok(bytes)
    }
}

/// The header as JSON.
struct Fields<'a> {
    metadata: Option<&'a [(String, String)]>,
    tensors: &'a [StagedTensor<'a>],
}

#[derive(serde::Serialize)]
struct Info<'a> {
    dtype: &'a str,
    shape: &'a [u64],
    data_offsets: (u64, u64),
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(metadata) = self.metadata {
            map.serialize_entry("__metadata__", &Entries(metadata))?;
        }
        let mut start = 0;
        for StagedTensor { name, dtype, shape, data } in self.tensors {
            let end = start + data.len() as u64;
            let info = Info { dtype: dtype.name(), shape, data_offsets: (start, end) };
            map.serialize_entry(name, &info)?;
            start = end;
        }
        map.end()
    }
}

/// A map of strings, in its order.
struct Entries<'a>(&'a [(String, String)]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_dtypes_are_saved_first() {
        let tensor = |name, dtype, data| StagedTensor { name, dtype, shape: &[1], data };
        let tensors = vec![
            tensor("a", Dtype::U8, &[1]),
            tensor("c", Dtype::F32, &[0; 4]),
            tensor("b", Dtype::F32, &[0; 4]),
            tensor("d", Dtype::U64, &[0; 8]),
        ];
        let mut file = Vec::new();
        Staged::new(tensors, None).unwrap().write(&mut file, &()).unwrap();
        let header = Header::read(&file).unwrap();
        let names: Vec<_> = header.tensors().iter().map(|tensor| tensor.name()).collect();
        assert_eq!(names, ["d", "b", "c", "a"]);
    }
}
