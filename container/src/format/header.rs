//! The safetensors header: the one truth about names, dtypes and shapes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use at1w_codec::Dtype;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::error::HeaderError;
use crate::{Error, Result};

/// The largest header that safetensors allows, in bytes.
pub const MAX_HEADER_LEN: u64 = 100_000_000;

/// Bytes of the length before the header.
pub(crate) const PREFIX: u64 = 8;

/// A parsed header, with the bytes it came from.
#[derive(Debug)]
pub struct Header {
    bytes: Vec<u8>,
    metadata: Option<Vec<(String, String)>>,
    /// In data order; tensors without bytes in header order among their like.
    tensors: Vec<TensorInfo>,
    by_name: HashMap<Box<str>, u32>,
}

/// What the header says about a tensor.
#[derive(Debug)]
pub struct TensorInfo {
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) shape: Box<[u64]>,
    /// Where its bytes are, counted from the end of the header.
    pub(crate) data: Range<u64>,
}

/// The dtype of a tensor.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Known(Dtype),
    /// A dtype that this version does not know: its bytes are kept as bytes.
    Unknown(Box<str>),
}

impl TensorInfo {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape, in elements.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Bytes of the tensor.
    pub fn raw_len(&self) -> u64 {
        self.data.end - self.data.start
    }

    /// Whether dtype and shape are the same, and so the chunks.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.shape == other.shape && self.raw_len() == other.raw_len()
    }

    /// The dtype; `None` for one that this version does not know.
    pub fn dtype(&self) -> Option<Dtype> {
        match self.kind {
            Kind::Known(dtype) => Some(dtype),
            Kind::Unknown(_) => None,
        }
    }

    /// The dtype as the header spells it.
    pub fn dtype_name(&self) -> &str {
        match &self.kind {
            Kind::Known(dtype) => dtype.name(),
            Kind::Unknown(name) => name,
        }
    }
}

impl Header {
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
        // Stable: tensors without bytes keep their order.
        tensors.sort_by_key(|t| (t.data.start, t.data.end));
        // Before any other fault, since safetensors takes the last of several: what is wrong with
        // others would not be wrong there.
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), index as u32).is_some() {
                return Err(HeaderError::Duplicate(tensor.name.to_string()));
            }
        }
        let mut end = 0;
        for tensor in &tensors {
            check(tensor, end)?;
            end = tensor.data.end;
        }
        Ok(Self { bytes, metadata, tensors, by_name })
    }

    /// The JSON, as it was in the original file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entries of `__metadata__`, in their order; none as well where there is no such field.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let entries = self.metadata.as_deref().unwrap_or_default();
        entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is a `__metadata__`, be it empty.
    pub fn has_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    /// The tensors in data order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::NoTensor`], with names that are much like it.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.index_of(name).map(|index| &self.tensors[index])
    }

    pub(crate) fn index_of(&self, name: &str) -> Result<usize> {
        match self.by_name.get(name) {
            Some(&index) => Ok(index as usize),
            None => Err(Error::NoTensor { name: name.into(), near: self.near(name) }),
        }
    }

    /// Up to three names that `name` may have been meant for.
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

    /// Bytes of all tensors together.
    pub(crate) fn data_len(&self) -> u64 {
        self.tensors.last().map_or(0, |t| t.data.end)
    }

    /// Bytes of the original file.
    pub(crate) fn original_len(&self) -> Option<u64> {
        self.data_start().checked_add(self.data_len())
    }

    /// Where the tensors begin in the original file.
    pub(crate) fn data_start(&self) -> u64 {
        PREFIX + self.bytes.len() as u64
    }

    /// What the original file begins with: the length of the header, and the header.
    pub(crate) fn prefix(&self) -> [u8; PREFIX as usize] {
        (self.bytes.len() as u64).to_le_bytes()
    }
}

/// That a tensor begins at `expected` and has the size that its dtype and shape say.
fn check(tensor: &TensorInfo, expected: u64) -> Result<(), HeaderError> {
    let Range { start, end } = tensor.data;
    if start != expected || end < start {
        let name = tensor.name.to_string();
        return Err(HeaderError::Offsets { name, start, end, expected });
    }
    let overflow = || HeaderError::Overflow {
        name: tensor.name.to_string(),
        shape: tensor.shape.iter().take(16).copied().collect(),
    };
    let elements =
        tensor.shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).ok_or_else(overflow)?;
    let Kind::Known(dtype) = tensor.kind else { return Ok(()) };
    let bits = elements.checked_mul(dtype.bits().into()).ok_or_else(overflow)?;
    if bits % 8 != 0 || bits / 8 != end - start {
        let needed = if bits % 8 == 0 { (bits / 8).to_string() } else { format!("{bits}/8") };
        return Err(HeaderError::Size { name: tensor.name.to_string(), len: end - start, needed });
    }
    Ok(())
}

/// The top level of the JSON: `__metadata__`, and every other key a tensor.
struct Fields {
    metadata: Option<Vec<(String, String)>>,
    tensors: Vec<TensorInfo>,
}

#[derive(serde::Deserialize)]
struct RawInfo {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut metadata = None;
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                let entries = map.next_value::<Option<Metadata>>()?;
                if metadata.replace(entries).is_some() {
                    return Err(serde::de::Error::duplicate_field("__metadata__"));
                }
                continue;
            }
            let RawInfo { dtype, shape, data_offsets: (start, end) } = map.next_value()?;
            let kind = match Dtype::from_name(&dtype) {
                Some(dtype) => Kind::Known(dtype),
                None => Kind::Unknown(dtype.into()),
            };
            tensors.push(TensorInfo {
                name: name.into(),
                kind,
                shape: shape.into(),
                data: start..end,
            });
        }
        Ok(Fields { metadata: metadata.flatten().map(|m| m.0), tensors })
    }
}

/// A map of strings to strings, in its order.
struct Metadata(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings to strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Metadata(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
