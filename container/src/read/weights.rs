//! A file of weights in either format.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::base::{BaseFile, FindBase, FoundBase};
use super::buffer::{check_len, zeroed};
use super::options::{Limits, OpenOptions};
use super::plain::Plain;
use super::reader::Reader;
use super::receipt::{Receipt, Taken};
use super::rows::Rows;
use super::runs::Runs;
use super::slice::Slice;
use super::stored::Stored;
use crate::backend::chosen;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::header::Header;
use crate::format::magic::MAGIC;
use crate::kind::Wanted;
use crate::progress::Progress;
use crate::recognise::{begins_packed, open_file};
use crate::source::{self, ReadAt};

/// An open file of weights: packed, or a safetensors file as it is. For callers who load either;
/// the bytes of a packed one are verified.
pub struct Weights {
    format: Format,
    limits: Limits,
    /// Whether the caller named the root.
    pinned: bool,
    /// The tensors that were read.
    taken: Taken,
}

enum Format {
    Packed(Box<Reader>),
    Plain(Plain),
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.format {
            Format::Packed(reader) => f.debug_tuple("Weights").field(reader).finish(),
            Format::Plain(plain) => f
                .debug_struct("Weights")
                .field("tensors", &plain.header.tensors().len())
                .finish_non_exhaustive(),
        }
    }
}

impl BaseFile for Weights {
    fn stored(&self, tensor: usize) -> Result<Stored<'_>> {
        match &self.format {
            Format::Packed(reader) => Ok(reader.at(tensor).stored),
            Format::Plain(plain) => plain.stored(tensor),
        }
    }
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

    /// Opens a file in any source. A file that begins as an `.at1w` file must be one; any other
    /// must be a safetensors file.
    ///
    /// # Errors
    /// Those of [`Reader::new`], [`Error::Safetensors`], [`Error::WrongKind`], and
    /// [`Error::NoRoot`] where a root is asked for and the file has none.
    pub fn new(source: Box<dyn ReadAt>, options: &OpenOptions) -> Result<Self> {
        let size = source::size(&*source)?;
        if begins_packed(&source::read(&*source, 0..size.min(MAGIC.len() as u64))?) {
            let reader = Reader::new(source, options)?;
            return Ok(Self::of(Format::Packed(Box::new(reader)), options));
        }
        let plain = Plain::new(source, chosen(options.backend)?)?;
        if options.root.is_some() {
            return Err(Error::NoRoot);
        }
        Ok(Self::of(Format::Plain(plain), options))
    }

    fn of(format: Format, options: &OpenOptions) -> Self {
        let (limits, pinned) = (options.limits, options.root.is_some());
        Self { format, limits, pinned, taken: Taken::default() }
    }

    /// Notes that a tensor was read, whole or in part.
    fn note(&self, name: &str, whole: bool) {
        if let Some(index) = self.header().position(name) {
            self.taken.note(index, whole);
        }
    }

    /// Sets where bases are looked for, as [`Reader::with_bases`] does. A safetensors file needs
    /// none.
    #[must_use]
    pub fn with_bases(self, finder: Arc<dyn FindBase>) -> Self {
        let format = match self.format {
            Format::Packed(reader) => Format::Packed(Box::new(reader.with_bases(finder))),
            plain => plain,
        };
        Self { format, ..self }
    }

    /// Offers a tensor of this file as a base. `label` names the file in errors.
    ///
    /// # Errors
    /// [`Error::NoTensor`].
    pub fn base(self: Arc<Self>, tensor: &str, label: impl Into<String>) -> Result<FoundBase> {
        let index = self.header().index_of(tensor)?;
        Ok(self.base_at(index, label))
    }

    /// [`Weights::base`] by the index of the tensor.
    pub(crate) fn base_at(self: Arc<Self>, tensor: usize, label: impl Into<String>) -> FoundBase {
        FoundBase { file: self, tensor, label: label.into().into() }
    }

    /// Returns the content digests of a packed file, in data order; `None` for a safetensors file.
    pub(crate) fn content_digests(&self) -> Option<impl Iterator<Item = Digest>> {
        self.packed().map(Reader::content_digests)
    }

    /// Returns the content digest of a tensor. A safetensors file is hashed, once.
    pub(crate) fn content_digest(&self, tensor: usize) -> Result<Digest> {
        Ok(self.stored(tensor)?.entry.content_digest)
    }

    /// Returns the number of bases from a tensor to one that stands alone.
    pub(crate) fn depth(&self, tensor: usize) -> u8 {
        let base = self.packed().and_then(|reader| reader.at(tensor).base());
        base.map_or(0, |base| base.depth)
    }

    /// Whether the base of a tensor is found, and the bases of that.
    pub(crate) fn has_bases(&self, tensor: usize) -> bool {
        let found = |stored: Stored<'_>| -> Result<()> {
            let mut stored = stored;
            while stored.entry.base.is_some() {
                stored = stored.base()?;
            }
            Ok(())
        };
        self.stored(tensor).and_then(found).is_ok()
    }

    /// Whether short ranges are read as fast as long ones, by their bytes: not those of a packed
    /// file, nor where requests cost something.
    pub(crate) fn has_short_reads(&self) -> bool {
        matches!(&self.format, Format::Plain(plain) if plain.is_local())
    }

    /// Reads a range of a tensor. Of a packed file it is verified.
    pub(crate) fn read_range(
        &self,
        tensor: usize,
        range: Range<u64>,
        out: &mut [u8],
    ) -> Result<()> {
        let runs = Runs::contiguous(range.start, range.end - range.start);
        match &self.format {
            Format::Packed(reader) => reader.at(tensor).read_runs(&runs, out, &()),
            Format::Plain(plain) => plain.read(&plain.header.tensors()[tensor], &runs, out, &()),
        }
    }

    /// Returns the header of the safetensors file.
    pub fn header(&self) -> &Header {
        match &self.format {
            Format::Packed(reader) => reader.header(),
            Format::Plain(plain) => &plain.header,
        }
    }

    /// Returns the reader of a packed file; `None` for a safetensors file.
    pub fn packed(&self) -> Option<&Reader> {
        match &self.format {
            Format::Packed(reader) => Some(reader),
            Format::Plain(_) => None,
        }
    }

    /// Returns the length of the safetensors file, in bytes; for a packed file, of the one that it
    /// restores to.
    pub fn original_len(&self) -> u64 {
        self.header().data_start() + self.header().data_len()
    }

    /// Returns the root of a packed file; `None` for a safetensors file.
    pub fn root(&self) -> Option<Digest> {
        self.packed().map(Reader::root)
    }

    /// Returns what was read since the file was opened. Reads that failed are not in it.
    ///
    /// # Examples
    /// ```
    /// # use at1w_container::{Dtype, OpenOptions, PackOptions, Staged, StagedTensor, Weights};
    /// # use at1w_container::pack;
    /// # let data = [1, 2, 3, 4];
    /// # let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[4], data: &data };
    /// # let mut file = Vec::new();
    /// # let root = pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new())?.root;
    /// let weights = Weights::new(Box::new(file), &OpenOptions::new().root(root))?;
    /// weights.read_to_vec("w", None)?;
    /// let receipt = weights.receipt();
    /// assert_eq!(receipt.root, Some(root.to_string()));
    /// assert!(receipt.pinned && receipt.complete);
    /// # Ok::<(), at1w_container::Error>(())
    /// ```
    pub fn receipt(&self) -> Receipt {
        let digest = |index| self.packed().map(|reader| reader.at(index).digest());
        Receipt::of(self.header(), self.root(), self.pinned, &self.taken, digest)
    }

    /// Returns the length of a tensor in bytes, for a caller who makes room for it.
    ///
    /// # Errors
    /// [`Error::NoTensor`], and [`Error::Limit`] if it is above [`Limits::tensor_len`]: a packed
    /// file may claim far more than it has. [`Error::NoBase`], [`Error::DeepBase`] and
    /// [`Error::WrongBase`].
    pub fn tensor_len(&self, name: &str) -> Result<u64> {
        let len = self.within_limit(name, self.header().tensor(name)?.raw_len())?;
        self.check_backed(name)?;
        Ok(len)
    }

    fn check_backed(&self, name: &str) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.tensor(name)?.check_backed(),
            Format::Plain(_) => Ok(()),
        }
    }

    fn within_limit(&self, name: &str, size: u64) -> Result<u64> {
        let limit = self.limits.tensor_len;
        if size > limit && matches!(self.format, Format::Packed(_)) {
            return Err(Error::Limit { what: format!("tensor {name:?}"), size, limit });
        }
        Ok(size)
    }

    /// Reads several tensors, each into memory of its size. `wanted` may be sorted anew.
    ///
    /// # Errors
    /// Those of [`Reader::read_tensors`].
    pub fn read(&self, wanted: &mut [(&str, &mut [u8])], progress: &dyn Progress) -> Result<()> {
        self.fill(wanted, progress)?;
        wanted.iter().for_each(|(name, _)| self.note(name, true));
        Ok(())
    }

    /// [`Weights::read`] without a note.
    fn fill(&self, wanted: &mut [(&str, &mut [u8])], progress: &dyn Progress) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.read_tensors(wanted, progress),
            Format::Plain(plain) => {
                let find = |name: &str| plain.header.tensor(name);
                wanted.sort_by_key(|(name, _)| find(name).map_or(0, |tensor| tensor.data.start));
                let tensors =
                    wanted.iter().map(|(name, _)| find(name)).collect::<Result<Vec<_>>>()?;
                plain.announce(&tensors);
                tensors.iter().zip(wanted).try_for_each(|(tensor, (_, out))| {
                    plain.read(tensor, &Runs::contiguous(0, tensor.raw_len()), out, progress)
                })
            }
        }
    }

    /// Reads slices of several tensors, each into memory of its size. Of a packed file, only the
    /// chunks that they touch are read.
    ///
    /// # Errors
    /// Those of [`Weights::read_slice`].
    pub fn read_slices(
        &self,
        wanted: &mut [(&str, &Slice, &mut [u8])],
        progress: &dyn Progress,
    ) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => {
                reader.read_slices(wanted, progress)?;
                wanted.iter().for_each(|(name, _, out)| self.note_slice(name, out));
                Ok(())
            }
            Format::Plain(_) => wanted
                .iter_mut()
                .try_for_each(|(name, slice, out)| self.read_slice(name, slice, out, progress)),
        }
    }

    /// Notes that a slice was read: one that has as many bytes as the tensor is all of it.
    fn note_slice(&self, name: &str, out: &[u8]) {
        let whole = self.header().tensor(name).is_ok_and(|t| t.raw_len() == out.len() as u64);
        self.note(name, whole);
    }

    /// Tells the source that tensors will be read whole, in this order. One whose requests are
    /// expensive sends them ahead, so that bytes are on their way while others are decoded.
    ///
    /// # Errors
    /// [`Error::NoTensor`].
    pub fn prefetch(&self, names: &[&str]) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.prefetch(names),
            Format::Plain(plain) => {
                let tensors = names.iter().map(|name| plain.header.tensor(name));
                plain.announce(&tensors.collect::<Result<Vec<_>>>()?);
                Ok(())
            }
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
            false => Err(Error::OtherTensor { name: name.into(), expected, actual }),
        };
        if let Format::Packed(reader) = &self.format {
            // Reading the tensor proves the digest on record.
            check(reader.tensor(name)?.digest())?;
            return self.read(&mut [(name, out)], progress);
        }
        self.fill(&mut [(name, &mut *out)], progress)?;
        check(Digest::of(out)).inspect_err(|_| out.fill(0))?;
        self.note(name, true);
        Ok(())
    }

    /// Reads a tensor or a slice of one into new memory; returns its shape and its bytes.
    ///
    /// # Errors
    /// Those of [`Weights::slice_shape`] and [`Weights::read_slice`], and [`Error::Memory`].
    pub fn read_to_vec(&self, name: &str, slice: Option<&Slice>) -> Result<(Vec<u64>, Vec<u8>)> {
        let whole = Slice(Vec::new());
        let slice = slice.unwrap_or(&whole);
        let (shape, len) = self.slice_shape(name, slice)?;
        self.check_backed(name)?;
        let mut out = zeroed(&self.limits, len, || format!("tensor {name:?}"))?;
        self.read_slice(name, slice, &mut out, &())?;
        Ok((shape, out))
    }

    /// Returns the SHA-256 of a tensor: for a packed file the one on record; a safetensors file is
    /// read and hashed.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Read`] and [`Error::Cancelled`].
    pub fn tensor_digest(&self, name: &str, progress: &dyn Progress) -> Result<Digest> {
        match &self.format {
            Format::Packed(reader) => Ok(reader.tensor(name)?.digest()),
            Format::Plain(plain) => plain.digest(plain.header.tensor(name)?, progress),
        }
    }

    /// Reads all of the file, and checks that the safetensors file has this SHA-256: the file
    /// itself, or the one that a packed file restores to.
    ///
    /// # Errors
    /// [`Error::OtherFile`], and those of [`Reader::verify_original`].
    pub fn verify_sha256(&self, expected: Digest, progress: &dyn Progress) -> Result<()> {
        let check = |actual: Digest| match actual == expected {
            true => Ok(()),
            false => Err(Error::OtherFile { expected, actual }),
        };
        match &self.format {
            Format::Packed(reader) => {
                check(reader.info().original_digest)?;
                reader.verify_original(progress)
            }
            Format::Plain(plain) => check(plain.file_digest(progress)?),
        }
    }

    /// Reads all of the file, and returns the SHA-256 of the safetensors file: of the file itself,
    /// or of the one that a packed file restores to.
    ///
    /// # Errors
    /// Those of [`Reader::verify_original`].
    pub fn file_digest(&self, progress: &dyn Progress) -> Result<Digest> {
        match &self.format {
            Format::Packed(reader) => {
                reader.verify_original(progress)?;
                Ok(reader.info().original_digest)
            }
            Format::Plain(plain) => plain.file_digest(progress),
        }
    }

    /// Returns the shape of a slice of a tensor, and its length in bytes.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Slice`], and [`Error::Limit`] as of a tensor.
    pub fn slice_shape(&self, name: &str, slice: &Slice) -> Result<(Vec<u64>, u64)> {
        let (shape, runs) = Runs::of(slice, self.header().tensor(name)?)?;
        Ok((shape, self.within_limit(name, runs.total())?))
    }

    /// Reads a slice of a tensor into memory of its size, in row-major order. Of a packed file,
    /// only the chunks that it touches are read.
    ///
    /// # Errors
    /// [`Error::Slice`], and those of [`Reader::read_tensors`]. Each byte of memory is then
    /// verified, zero, or unchanged.
    pub fn read_slice(
        &self,
        name: &str,
        slice: &Slice,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.tensor(name)?.read_slice_with(slice, out, progress)?,
            Format::Plain(plain) => {
                let tensor = plain.header.tensor(name)?;
                let (_, runs) = Runs::of(slice, tensor)?;
                plain.read(tensor, &runs, out, progress)?;
            }
        }
        self.note_slice(name, out);
        Ok(())
    }

    /// Returns the shape of rows of a tensor, and their length in bytes.
    ///
    /// # Errors
    /// Those of [`Weights::slice_shape`].
    pub fn rows_shape(&self, name: &str, rows: &[i64]) -> Result<(Vec<u64>, u64)> {
        let (shape, rows) = Rows::of(rows, self.header().tensor(name)?)?;
        Ok((shape, self.within_limit(name, rows.total())?))
    }

    /// Reads rows of a tensor into memory of their size: positions of its first dimension, in any
    /// order and any number of times; negative numbers count from the end. Of a packed file, each
    /// chunk that they touch is read once.
    ///
    /// # Errors
    /// Those of [`Weights::read_slice`].
    pub fn read_rows(
        &self,
        name: &str,
        rows: &[i64],
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        match &self.format {
            Format::Packed(reader) => reader.tensor(name)?.read_rows_with(rows, out, progress)?,
            Format::Plain(plain) => {
                let tensor = plain.header.tensor(name)?;
                let (_, rows) = Rows::of(rows, tensor)?;
                check_len(out, rows.total())?;
                rows.read(&self.limits, out, |runs, out| plain.read(tensor, runs, out, progress))?;
            }
        }
        // Rows may come twice: as many bytes as the tensor has need not be all of it.
        self.note(name, false);
        Ok(())
    }
}
