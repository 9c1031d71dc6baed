//! The safetensors header: the only record of names, dtypes and shapes, and of the order of the
//! tensors in a file.

use std::collections::HashMap;

use super::header_json::Fields;
use super::magic::MAGIC;
use super::tensor_info::TensorInfo;
use crate::error::header::HeaderError;
use crate::error::{Error, Result};
use crate::source::{self, ReadAt};

/// The largest header that safetensors allows, in bytes.
pub const MAX_HEADER_LEN: u64 = 100_000_000;

/// The length of the field before the header, which holds the length of the header, in bytes.
pub(crate) const PREFIX: u64 = 8;

/// A parsed safetensors header, with the bytes it came from.
#[derive(Debug)]
pub struct Header {
    bytes: Vec<u8>,
    metadata: Option<Vec<(String, String)>>,
    /// In data order; tensors without bytes at the same place keep the order of the header.
    tensors: Vec<TensorInfo>,
    by_name: HashMap<Box<str>, u32>,
}

impl Header {
    /// Reads and checks the header of a safetensors file, and that the file has the length that the
    /// header says.
    pub fn read(source: &dyn ReadAt) -> Result<Self> {
        let file = source::size(source)?;
        if file < PREFIX {
            return Err(HeaderError::TooShort(file).into());
        }
        let mut prefix = [0; PREFIX as usize];
        prefix.copy_from_slice(&source::read(source, 0..PREFIX)?);
        if prefix == MAGIC {
            return Err(Error::AlreadyPacked);
        }
        let header = u64::from_le_bytes(prefix);
        if header > MAX_HEADER_LEN {
            return Err(HeaderError::TooLarge(header).into());
        }
        if header > file - PREFIX {
            return Err(HeaderError::Truncated { header, file }.into());
        }
        let bytes = source::read(source, PREFIX..PREFIX + header)?.into_owned();
        let header = Self::parse(bytes)?;
        match header.original_len() {
            Some(tensors) if tensors == file => Ok(header),
            Some(tensors) if tensors < file => Err(HeaderError::Trailing { tensors, file }.into()),
            tensors => {
                Err(HeaderError::CutShort { tensors: tensors.unwrap_or(u64::MAX), file }.into())
            }
        }
    }

    /// Parses the JSON of a header and checks it as safetensors does, with two differences: an
    /// unknown dtype is taken as bytes, and two tensors of one name are refused.
    ///
    /// # Errors
    /// [`Error::Safetensors`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        Self::parse_bytes(bytes).map_err(Error::Safetensors)
    }

    fn parse_bytes(bytes: Vec<u8>) -> Result<Self, HeaderError> {
        let text =
            std::str::from_utf8(&bytes).map_err(<serde_json::Error as serde::de::Error>::custom)?;
        let Fields { metadata, mut tensors } = serde_json::from_str(text)?;
        // A stable sort: tensors without bytes keep their order.
        tensors.sort_by_key(|t| (t.data.start, t.data.end));
        // Checked before anything else: of several tensors of one name safetensors takes the last,
        // so that a fault in another of them would be none there.
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), index as u32).is_some() {
                return Err(HeaderError::Duplicate(tensor.name.to_string()));
            }
        }
        let mut end = 0;
        for tensor in &tensors {
            tensor.check(end)?;
            end = tensor.data.end;
        }
        Ok(Self { bytes, metadata, tensors, by_name })
    }

    /// Returns the JSON as it was in the original file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the entries of `__metadata__` in their order; none where there is no such field.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let entries = self.metadata.as_deref().unwrap_or_default();
        entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is a `__metadata__`, which may be empty.
    pub fn has_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    /// Returns the tensors in data order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Finds the tensor of that name.
    ///
    /// # Errors
    /// [`Error::NoTensor`], with the names most like it.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.index_of(name).map(|index| &self.tensors[index])
    }

    pub(crate) fn index_of(&self, name: &str) -> Result<usize> {
        let missing = || Error::NoTensor { name: name.into(), near: self.near(name) };
        self.position(name).ok_or_else(missing)
    }

    /// [`Header::index_of`] for those who expect that there may be none.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|&index| index as usize)
    }

    /// Returns up to three names that are much like `name`.
    fn near(&self, name: &str) -> Vec<String> {
        // Names of hostile length would take quadratic time.
        let names = self.tensors.iter().map(|t| &*t.name).filter(|n| n.len() < 128);
        let mut scored: Vec<(f64, &str)> = match name.len() {
            128.. => Vec::new(),
            _ => names
                .map(|n| {
                    (strsim::jaro_winkler(n, name) + f64::from(u8::from(n.ends_with(name))), n)
                })
                .filter(|(score, _)| *score > 0.8)
                .collect(),
        };
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        scored.into_iter().take(3).map(|(_, n)| n.to_owned()).collect()
    }

    /// Returns the length of all tensors together, in bytes.
    pub(crate) fn data_len(&self) -> u64 {
        self.tensors.last().map_or(0, |t| t.data.end)
    }

    /// Returns the length of the original file, in bytes; `None` where it overflows.
    pub(crate) fn original_len(&self) -> Option<u64> {
        self.data_start().checked_add(self.data_len())
    }

    /// Returns the offset of the first tensor in the original file.
    pub(crate) fn data_start(&self) -> u64 {
        PREFIX + self.bytes.len() as u64
    }

    /// Returns the first bytes of the original file, which hold the length of the header.
    pub(crate) fn prefix(&self) -> [u8; PREFIX as usize] {
        (self.bytes.len() as u64).to_le_bytes()
    }
}
