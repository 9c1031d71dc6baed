//! A piece of a tensor, packed by itself.

use at1w_codec::{Dtype, Level};

use crate::error::{Error, Result};
use crate::format::chunk_table::chunk_table_len;
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::tensor_info::TensorInfo;
use crate::read::options::OpenOptions;
use crate::read::reader::Reader;
use crate::source::{self, ReadAt};
use crate::write::options::PackOptions;
use crate::write::pack::pack;
use crate::write::staged::{Staged, StagedTensor};

/// A chunk of a tensor, which stands for others.
///
/// The file that it comes from is the caller's, who adds it to a [`super::Population`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Piece {
    /// The number of the file that the tensor is in, as it was added.
    pub file: usize,
    /// The index of the tensor, in data order.
    pub tensor: usize,
    /// The chunk.
    pub chunk: u64,
    /// The stratum that the tensor is of.
    pub stratum: usize,
}

impl Piece {
    /// Reads the bytes of the piece.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(&self, source: &dyn ReadAt, header: &Header) -> Result<Vec<u8>> {
        let info = self.info(header)?;
        let range = Chunking::of(info).range(self.chunk);
        let start = header.data_start() + info.data.start;
        Ok(source::read(source, start + range.start..start + range.end)?.into_owned())
    }

    /// Packs the bytes of the piece as a file.
    ///
    /// # Errors
    /// Those of [`crate::pack`].
    pub fn pack(&self, header: &Header, bytes: &[u8], level: Level) -> Result<Vec<u8>> {
        let info = self.info(header)?;
        let shape = shape_of(info, bytes.len() as u64);
        let (len, dtype) = ([bytes.len() as u64], info.dtype());
        // A piece of a tensor with elements of less than a byte may not be whole ones.
        let (dtype, shape) = match dtype.filter(|dtype| dtype.bits().is_multiple_of(8)) {
            Some(dtype) => (dtype, shape.as_slice()),
            None => (Dtype::U8, len.as_slice()),
        };
        let tensor = StagedTensor { name: info.name(), dtype, shape, data: bytes };
        let mut file = Vec::new();
        pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new().level(level))?;
        Ok(file)
    }

    /// Reads a piece back that was packed as a file, and compares it. Returns the part of its
    /// length that is stored, with its part of the model, but without the chunk table.
    ///
    /// # Errors
    /// [`Error::Encoded`] if the bytes do not come back, and those of [`Reader::new`].
    pub fn ratio(&self, header: &Header, bytes: &[u8], packed: Vec<u8>) -> Result<f64> {
        let info = self.info(header)?;
        let reader = Reader::new(Box::new(packed), &OpenOptions::new())?;
        let tensor = reader.tensor(info.name())?;
        if tensor.read_to_vec()? != bytes {
            return Err(Error::Encoded { name: info.name().into(), chunk: self.chunk });
        }
        let model = reader.info().models_len;
        let payload = (tensor.stored_len() - model) as f64 / bytes.len() as f64;
        // A tensor has one model, however many chunks.
        Ok(payload + model as f64 / info.raw_len() as f64)
    }

    fn info<'h>(&self, header: &'h Header) -> Result<&'h TensorInfo> {
        header
            .tensors()
            .get(self.tensor)
            .ok_or_else(|| Error::SourceChanged("it has fewer tensors than a moment ago".into()))
    }
}

/// Returns the shape of `len` bytes of a tensor: whole slices of its outermost dimensions, as far
/// as they are.
fn shape_of(info: &TensorInfo, len: u64) -> Vec<u64> {
    if len == info.raw_len() {
        return info.shape().to_vec();
    }
    let width = info.dtype().map_or(1, |dtype| u64::from(dtype.bits() / 8)).max(1);
    let (mut slice, mut inner) = (width, Vec::new());
    for &dim in info.shape().iter().rev() {
        match slice.checked_mul(dim) {
            Some(next) if next <= len && len.is_multiple_of(next) => slice = next,
            _ => break,
        }
        inner.push(dim);
    }
    inner.push(len / slice);
    inner.reverse();
    inner
}

/// Returns the bytes of the chunk tables of a tensor.
pub(super) fn table_len(info: &TensorInfo) -> u64 {
    chunk_table_len(Chunking::of(info).count())
}
