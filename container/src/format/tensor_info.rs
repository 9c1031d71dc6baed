//! The entry of a tensor in the safetensors header: its name, dtype, shape and place.

use std::ops::Range;

use at1w_codec::Dtype;

use crate::error::header::HeaderError;

/// The entry of a tensor in the header.
#[derive(Debug)]
pub struct TensorInfo {
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) shape: Box<[u64]>,
    /// The range of its bytes, counted from the end of the header.
    pub(crate) data: Range<u64>,
}

/// The dtype of a tensor.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Known(Dtype),
    /// A dtype that this version does not know, by its name.
    Unknown(Box<str>),
}

impl TensorInfo {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the shape, in elements.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Returns the length of the tensor, in bytes.
    pub fn raw_len(&self) -> u64 {
        self.data.end - self.data.start
    }

    /// Whether dtype, shape and length are the same, and so the chunks.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.shape == other.shape && self.raw_len() == other.raw_len()
    }

    /// Returns the dtype that the bytes are coded as: an unknown one is coded as bytes.
    pub(crate) fn coded_as(&self) -> Dtype {
        self.dtype().unwrap_or(Dtype::U8)
    }

    /// Returns the dtype; `None` for one that this version does not know.
    pub fn dtype(&self) -> Option<Dtype> {
        match self.kind {
            Kind::Known(dtype) => Some(dtype),
            Kind::Unknown(_) => None,
        }
    }

    /// Returns the dtype as the header spells it.
    pub fn dtype_name(&self) -> &str {
        match &self.kind {
            Kind::Known(dtype) => dtype.name(),
            Kind::Unknown(name) => name,
        }
    }

    /// Checks that the tensor begins at `expected`, and has the size of its dtype and shape.
    pub(super) fn check(&self, expected: u64) -> Result<(), HeaderError> {
        let Range { start, end } = self.data;
        if start != expected || end < start {
            let name = self.name.to_string();
            return Err(HeaderError::Offsets { name, start, end, expected });
        }
        let overflow = || HeaderError::Overflow {
            name: self.name.to_string(),
            shape: self.shape.iter().take(16).copied().collect(),
        };
        let elements =
            self.shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).ok_or_else(overflow)?;
        let Kind::Known(dtype) = self.kind else { return Ok(()) };
        let bits = elements.checked_mul(dtype.bits().into()).ok_or_else(overflow)?;
        if bits % 8 != 0 || bits / 8 != end - start {
            let needed = if bits % 8 == 0 { (bits / 8).to_string() } else { format!("{bits}/8") };
            return Err(HeaderError::Size {
                name: self.name.to_string(),
                len: end - start,
                needed,
            });
        }
        Ok(())
    }
}
