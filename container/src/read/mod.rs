//! Reading: from an open file to verified tensors, slices and the original bytes.

pub(crate) mod decode;
pub(crate) mod index;
pub(crate) mod plan;
pub(crate) mod reader;
pub(crate) mod slice;
pub(crate) mod tensor;
pub(crate) mod unpack;
pub(crate) mod weights;
