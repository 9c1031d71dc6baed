//! The reasons why a safetensors header is refused.

use thiserror::Error;

/// The reason why a safetensors header is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file is shorter than the 8 bytes of the header length.
    #[error("the file has {0} bytes, too few for a header")]
    TooShort(u64),
    /// The header has more than 100 MB, the limit of safetensors.
    #[error("the header length is {0} bytes, safetensors allows 100,000,000")]
    TooLarge(u64),
    /// The header reaches beyond the end of the file.
    #[error(
        "the file is cut short: its header alone has {header} bytes, the file {file}; a download \
         may not have finished: fetch it again"
    )]
    Truncated {
        /// The length of the header, in bytes.
        header: u64,
        /// The length of the file, in bytes.
        file: u64,
    },
    /// The header is not valid JSON, or lacks a field.
    #[error("the header is not valid: {0}")]
    Json(serde_json::Error),
    /// Two tensors have the same name.
    #[error("two tensors have the name {0:?}")]
    Duplicate(String),
    /// A tensor does not begin where the one before it ended, or ends before it begins.
    #[error(
        "tensor {name:?} has data offsets {start}..{end}, it must begin at {expected}: offsets \
         overlap or leave a gap"
    )]
    Offsets {
        /// The tensor.
        name: String,
        /// Its first byte.
        start: u64,
        /// One past its last byte.
        end: u64,
        /// The end of the tensor before it.
        expected: u64,
    },
    /// The size of a tensor overflows 64 bits.
    #[error("tensor {name:?} has a shape whose size overflows: {shape:?}")]
    Overflow {
        /// The tensor.
        name: String,
        /// The first 16 dimensions of its shape, in elements.
        shape: Vec<u64>,
    },
    /// The data offsets of a tensor do not fit its dtype and shape.
    #[error("tensor {name:?} has {len} bytes, its dtype and shape need {needed}")]
    Size {
        /// The tensor.
        name: String,
        /// Its length by its offsets, in bytes.
        len: u64,
        /// Its length by dtype and shape, in bytes, or in eighths of a byte.
        needed: String,
    },
    /// The file ends before its tensors do.
    #[error(
        "the file is cut short: it has {file} bytes of {tensors}; a download may not have \
         finished: fetch it again"
    )]
    CutShort {
        /// The end of the last tensor.
        tensors: u64,
        /// The length of the file, in bytes.
        file: u64,
    },
    /// The file goes on after its last tensor.
    #[error(
        "{} bytes follow the last tensor, which ends at byte {tensors}: something was appended to \
         the file, or its header is of another file",
        file - tensors
    )]
    Trailing {
        /// The end of the last tensor.
        tensors: u64,
        /// The length of the file, in bytes.
        file: u64,
    },
}

// Not derived: the message shows the cause, so `source` must not return it again.
impl From<serde_json::Error> for HeaderError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}
