//! The formats that `get` writes a tensor in.

use std::collections::BTreeMap;
use std::path::Path;

use at1w_container::{Dtype, TensorInfo};

use crate::failure::{Failure, Result};

/// A format for one tensor: the raw bytes, with or without a preamble.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Raw,
    Npy,
    Safetensors,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Self::Npy,
            Some("safetensors") => Self::Safetensors,
            _ => Self::Raw,
        }
    }

    /// Returns the bytes before the `len` raw bytes of `tensor` or a slice of it.
    pub(crate) fn preamble(
        self,
        tensor: &TensorInfo,
        shape: &[u64],
        len: usize,
    ) -> Result<Vec<u8>> {
        match self {
            Self::Raw => Ok(Vec::new()),
            Self::Npy => Ok(npy(npy_type(tensor)?.0, shape)),
            Self::Safetensors => Ok(safetensors(tensor, shape, len)),
        }
    }

    /// Returns a note for readers of a format that cannot name the dtype.
    pub(crate) fn note(self, tensor: &TensorInfo) -> Option<String> {
        let Self::Npy = self else { return None };
        let ml_dtype = npy_type(tensor).ok()?.1?;
        Some(format!(
            "numpy has no {0}: array.view(ml_dtypes.{ml_dtype}) is one",
            tensor.dtype_name()
        ))
    }
}

/// Returns the name of the dtype in numpy, and its name in `ml_dtypes` if numpy only knows its
/// size.
fn npy_type(tensor: &TensorInfo) -> Result<(&'static str, Option<&'static str>)> {
    Ok(match tensor.dtype() {
        Some(Dtype::Bool) => ("|b1", None),
        Some(Dtype::U8) => ("|u1", None),
        Some(Dtype::I8) => ("|i1", None),
        Some(Dtype::U16) => ("<u2", None),
        Some(Dtype::I16) => ("<i2", None),
        Some(Dtype::U32) => ("<u4", None),
        Some(Dtype::I32) => ("<i4", None),
        Some(Dtype::U64) => ("<u8", None),
        Some(Dtype::I64) => ("<i8", None),
        Some(Dtype::F16) => ("<f2", None),
        Some(Dtype::F32) => ("<f4", None),
        Some(Dtype::F64) => ("<f8", None),
        Some(Dtype::C64) => ("<c8", None),
        Some(Dtype::BF16) => ("|V2", Some("bfloat16")),
        Some(Dtype::F8E4M3) => ("|V1", Some("float8_e4m3fn")),
        Some(Dtype::F8E5M2) => ("|V1", Some("float8_e5m2")),
        Some(Dtype::F8E8M0) => ("|V1", Some("float8_e8m0fnu")),
        Some(Dtype::F8E4M3Fnuz) => ("|V1", Some("float8_e4m3fnuz")),
        Some(Dtype::F8E5M2Fnuz) => ("|V1", Some("float8_e5m2fnuz")),
        // Elements that are no whole bytes, and dtypes that nobody knows yet.
        _ => {
            return Err(Failure::Usage(format!(
                "numpy cannot hold the dtype {}: write to a name that ends in .safetensors, or in \
                 .bin for the raw bytes",
                tensor.dtype_name()
            )));
        }
    })
}

/// Makes the header of a `.npy` file: version 1.0, or 2.0 for a header of 64 KiB or more.
fn npy(descr: &str, shape: &[u64]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    // A tuple of one keeps its comma.
    let dims = if shape.len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");

    // The data is aligned to 64 bytes, by spaces before a line break.
    let padded = |prefix: usize| (prefix + dict.len() + 1).next_multiple_of(64) - prefix;
    let mut header = b"\x93NUMPY".to_vec();
    if let Ok(len) = u16::try_from(padded(10)) {
        header.extend([1, 0]);
        header.extend(len.to_le_bytes());
    } else {
        header.extend([2, 0]);
        header.extend((padded(12) as u32).to_le_bytes());
    }
    header.extend(dict.bytes());
    header.resize((header.len() + 1).next_multiple_of(64) - 1, b' ');
    header.push(b'\n');
    header
}

/// Makes the header of a safetensors file of one tensor.
fn safetensors(tensor: &TensorInfo, shape: &[u64], len: usize) -> Vec<u8> {
    let info = serde_json::json!({
        "dtype": tensor.dtype_name(),
        "shape": shape,
        "data_offsets": [0, len],
    });
    let mut json = serde_json::json!(BTreeMap::from([(tensor.name(), info)])).to_string();
    // The data is aligned to 8 bytes.
    json.extend(std::iter::repeat_n(' ', json.len().next_multiple_of(8) - json.len()));
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy_dict(shape: &[u64]) -> String {
        let header = npy("<f4", shape);
        assert_eq!(header.len() % 64, 0);
        assert_eq!(&header[..8], b"\x93NUMPY\x01\x00");
        assert_eq!(u16::from_le_bytes([header[8], header[9]]) as usize, header.len() - 10);
        assert_eq!(header.last(), Some(&b'\n'));
        String::from_utf8(header[10..].to_vec()).unwrap().trim_end().to_owned()
    }

    #[test]
    fn npy_headers_are_those_of_numpy() {
        let dict = |dims| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {dims}, }}");
        assert_eq!(npy_dict(&[]), dict("()"));
        assert_eq!(npy_dict(&[3]), dict("(3,)"));
        assert_eq!(npy_dict(&[3, 0, 5]), dict("(3, 0, 5)"));
    }

    #[test]
    fn long_npy_headers_are_of_version_2() {
        let header = npy("<f4", &[1; 30_000]);
        assert_eq!(&header[..8], b"\x93NUMPY\x02\x00");
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        assert_eq!(len as usize, header.len() - 12);
        assert_eq!(header.len() % 64, 0);
    }
}
