//! A file of weights in either format.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;
use std::path::Path;

use crate::digest::{Digest, Hasher};
use crate::format::header::Header;
use crate::format::trailer::MAGIC;
use crate::kind::{self, Wanted, open_file};
use crate::progress::{Progress, report};
use crate::read::reader::{Limits, OpenOptions, Reader, check_len};
use crate::read::slice::{Runs, Slice};
use crate::source::{self, ReadAt};
use crate::write::pack::{begins_packed, read_header};
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
    /// Opens a file.
    ///
    /// # Errors
    /// Those of [`Weights::new`] and of the file system; all name the file.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let file = open_file(path, Wanted::Weights)?;
        Self::new(Box::new(file), options).map_err(|error| error.in_file(path))
    }

    /// Opens what a source holds. What begins as an `.at1w` file must be one, anything else a
    /// safetensors file.
    ///
    /// # Errors
    /// Those of [`Reader::new`], [`Error::Safetensors`], [`Error::WrongKind`], and [`Error::NoRoot`]
    /// where a root is asked for and the file has none.
    pub fn new(source: Box<dyn ReadAt>, options: &OpenOptions) -> Result<Self> {
        let size = source.size().map_err(|source| Error::Read { offset: 0, source })?;
        if begins_packed(&source::read(&*source, 0..size.min(MAGIC.len() as u64))?) {
            let reader = Reader::new(source, options)?;
            let format = Format::Packed(Box::new(reader));
            return Ok(Self { format, limits: options.limits });
        }
        let header = read_header(&*source)
            .map_err(|error| kind::explain(&*source, error, Wanted::Weights))?;
        if options.root.is_some() {
            return Err(Error::NoRoot);
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

    /// The reader of a packed file; nothing for a safetensors file.
    pub fn packed(&self) -> Option<&Reader> {
        match &self.format {
            Format::Packed(reader) => Some(reader),
            Format::Plain { .. } => None,
        }
    }

    /// Bytes of the safetensors file: of the one that a packed file restores to.
    pub fn original_len(&self) -> u64 {
        self.header().data_start() + self.header().data_len()
    }

    /// The root, of a packed file.
    pub fn root(&self) -> Option<Digest> {
        self.packed().map(Reader::root)
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

    /// Reads a tensor, or a part of one, into new memory: its shape and its bytes.
    ///
    /// # Errors
    /// Those of [`Weights::slice_shape`] and [`Weights::read_slice`], and [`Error::Memory`].
    pub fn read_to_vec(&self, name: &str, slice: Option<&Slice>) -> Result<(Vec<u64>, Vec<u8>)> {
        let whole = Slice(Vec::new());
        let slice = slice.unwrap_or(&whole);
        let (shape, len) = self.slice_shape(name, slice)?;
        let mut out = Vec::new();
        // A plain file has as many bytes: its size bounds what is allocated.
        self.limits.reserve(&mut out, len, || format!("tensor {name:?}"))?;
        out.resize(len as usize, 0);
        self.read_slice(name, slice, &mut out, &())?;
        Ok((shape, out))
    }

    /// SHA-256 of the bytes of a tensor: of a packed file the one on record, of a safetensors file
    /// that of the bytes that are there.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Read`] and [`Error::Cancelled`].
    pub fn tensor_digest(&self, name: &str, progress: &dyn Progress) -> Result<Digest> {
        match &self.format {
            Format::Packed(reader) => Ok(reader.tensor(name)?.digest()),
            Format::Plain { source, header } => {
                let Range { start, end } = header.tensor(name)?.data;
                let start_of_data = header.data_start();
                digest_of(&**source, start_of_data + start..start_of_data + end, progress)
            }
        }
    }

    /// Reads all of the file, and checks that the safetensors file has this SHA-256: the file itself,
    /// or the one that a packed file restores to.
    ///
    /// # Errors
    /// [`Error::OtherFile`], and those of [`Reader::verify_original`].
    pub fn verify_sha256(&self, expected: Digest, progress: &dyn Progress) -> Result<()> {
        let check = |actual: Digest| match actual == expected {
            true => Ok(()),
            false => {
                Err(Error::OtherFile { expected: expected.to_string(), actual: actual.to_string() })
            }
        };
        match &self.format {
            Format::Packed(reader) => {
                check(reader.info().original_digest)?;
                reader.verify_original(progress)
            }
            Format::Plain { source, .. } => {
                check(digest_of(&**source, 0..self.original_len(), progress)?)
            }
        }
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

/// SHA-256 of a range of a source.
fn digest_of(source: &dyn ReadAt, range: Range<u64>, progress: &dyn Progress) -> Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = Vec::new();
    let mut from = range.start;
    while from < range.end {
        let to = range.end.min(from + PIECE);
        let bytes = source::read_into(source, from..to, mem::take(&mut buffer))?;
        hasher.update(&bytes);
        if let Cow::Owned(bytes) = bytes {
            buffer = bytes;
        }
        report(progress, to - from)?;
        from = to;
    }
    Ok(hasher.finish())
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
