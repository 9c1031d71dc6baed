//! A file of weights in either format.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use crate::digest::Digest;
use crate::format::MAGIC;
use crate::header::Header;
use crate::pack::{begins_packed, read_header};
use crate::progress::{Progress, report};
use crate::reader::{Limits, OpenOptions, Reader, check_len};
use crate::slice::{Runs, Slice};
use crate::source::{self, ReadAt};
use crate::{Error, Result};

/// Bytes of a safetensors file that are read at a time.
const PIECE: u64 = 1 << 20;

/// An open file of weights: packed, or a safetensors file as it is. For those who load either and
/// do not care which; what is read of a packed one is verified.
pub struct Weights {
    format: Format,
    limits: Limits,
}

enum Format {
    Packed(Box<Reader>),
    Plain { source: Box<dyn ReadAt>, header: Header },
}

impl Weights {
    /// Opens what a source holds. What begins as an `.at1w` file must be one, anything else a
    /// safetensors file.
    ///
    /// # Errors
    /// Those of [`Reader::new`], [`Error::Safetensors`], and [`Error::NotAt1w`] where a root is
    /// asked for and the file has none.
    pub fn new(source: Box<dyn ReadAt>, options: &OpenOptions) -> Result<Self> {
        let size = source.size().map_err(|source| Error::Read { offset: 0, source })?;
        if begins_packed(&source::read(&*source, 0..size.min(MAGIC.len() as u64))?) {
            let reader = Reader::new(source, options)?;
            let format = Format::Packed(Box::new(reader));
            return Ok(Self { format, limits: options.limits });
        }
        let header = read_header(&*source)?;
        if options.root.is_some() {
            return Err(Error::NotAt1w("a safetensors file has no root that could be pinned"));
        }
        Ok(Self { format: Format::Plain { source, header }, limits: options.limits })
    }

    /// The header of the safetensors file.
    pub fn header(&self) -> &Header {
        match &self.format {
            Format::Packed(reader) => reader.header(),
            Format::Plain { header, .. } => header,
        }
    }

    /// The root, of a packed file.
    pub fn root(&self) -> Option<Digest> {
        match &self.format {
            Format::Packed(reader) => Some(reader.root()),
            Format::Plain { .. } => None,
        }
    }

    /// Bytes of a tensor, for a caller who makes room for it.
    ///
    /// # Errors
    /// [`Error::NoTensor`], and [`Error::Limit`] if it is above [`Limits::tensor_len`]: a packed file
    /// may claim far more than it has.
    pub fn tensor_len(&self, name: &str) -> Result<u64> {
        self.within_limit(name, self.header().tensor(name)?.raw_len())
    }

    fn within_limit(&self, name: &str, size: u64) -> Result<u64> {
        let limit = self.limits.tensor_len;
        if size > limit && matches!(self.format, Format::Packed(_)) {
            return Err(Error::Limit { what: format!("tensor {name:?}"), size, limit });
        }
        Ok(size)
    }

    /// Reads several tensors, each into memory of its size.
    ///
    /// # Errors
    /// Those of [`Reader::read_tensors`].
    pub fn read(&self, wanted: &mut [(&str, &mut [u8])], progress: &dyn Progress) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.read_tensors(wanted, progress),
            Format::Plain { source, header } => wanted.iter_mut().try_for_each(|(name, out)| {
                let tensor = header.tensor(name)?;
                let runs = Runs::contiguous(0, tensor.raw_len());
                read_plain(&**source, header.data_start() + tensor.data.start, &runs, out, progress)
            }),
        }
    }

    /// Reads the tensor that has the SHA-256 `expected` into memory of its size.
    ///
    /// # Errors
    /// [`Error::OtherTensor`] if it has another one, and as [`Weights::read`].
    pub fn read_pinned(
        &self,
        name: &str,
        expected: Digest,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        let check = |actual: Digest| match actual == expected {
            true => Ok(()),
            false => Err(Error::OtherTensor {
                name: name.into(),
                expected: expected.to_string(),
                actual: actual.to_string(),
            }),
        };
        if let Format::Packed(reader) = &self.format {
            // Reading it proves what is on record.
            check(reader.tensor(name)?.digest())?;
            return self.read(&mut [(name, out)], progress);
        }
        self.read(&mut [(name, &mut *out)], progress)?;
        check(Digest::of(out)).inspect_err(|_| out.fill(0))
    }

    /// The shape of a part of a tensor, and its size in bytes.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Slice`], and [`Error::Limit`] as of a tensor.
    pub fn slice_shape(&self, name: &str, slice: &Slice) -> Result<(Vec<u64>, u64)> {
        let (shape, runs) = Runs::of(slice, self.header().tensor(name)?)?;
        Ok((shape, self.within_limit(name, runs.total())?))
    }

    /// Reads a part of a tensor into memory of its size, in row-major order. Of a packed file, only
    /// the chunks that it touches are read.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Slice`], [`Error::Buffer`], [`Error::DamagedTensor`],
    /// [`Error::Read`] and [`Error::Cancelled`]. The bytes of memory are then verified, zero, or what
    /// they were.
    pub fn read_slice(
        &self,
        name: &str,
        slice: &Slice,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.tensor(name)?.read_slice_with(slice, out, progress),
            Format::Plain { source, header } => {
                let tensor = header.tensor(name)?;
                let (_, runs) = Runs::of(slice, tensor)?;
                read_plain(&**source, header.data_start() + tensor.data.start, &runs, out, progress)
            }
        }
    }
}

/// Reads runs of a tensor that begins at `start` and is stored as it is.
fn read_plain(
    source: &dyn ReadAt,
    start: u64,
    runs: &Runs,
    out: &mut [u8],
    progress: &dyn Progress,
) -> Result<()> {
    check_len(out, runs.total())?;
    let Range { start: mut from, end } = runs.span();
    let mut rest = out;
    let mut buffer = Vec::new();
    while from < end {
        let to = end.min(from + PIECE);
        let len = runs.bytes_before(to) - runs.bytes_before(from);
        if len > 0 {
            let raw = source::read_into(source, start + from..start + to, mem::take(&mut buffer))?;
            let (out, after) = rest.split_at_mut(len as usize);
            runs.gather(from..to, &raw, out);
            rest = after;
            if let Cow::Owned(raw) = raw {
                buffer = raw;
            }
            report(progress, len)?;
        }
        from = to;
    }
    Ok(())
}
