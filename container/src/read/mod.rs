//! Reading: from an open file to verified tensors, slices and the original bytes.
//!
//! `index` is read at opening and checked by `records`; `stored` is a tensor as the index places
//! it; `base` is what a version needs of another file, and `folders` looks for it; `plan` is all
//! that decoding its chunks needs; `decode` decodes and verifies chunks.

pub(crate) mod alone;
pub(crate) mod base;
pub(crate) mod buffer;
pub(crate) mod decode;
pub(crate) mod folders;
pub(crate) mod index;
pub(crate) mod info;
mod kept;
pub(crate) mod loose;
pub(crate) mod options;
mod plain;
pub(crate) mod plan;
pub(crate) mod proof;
mod prove;
pub(crate) mod reader;
pub(crate) mod receipt;
mod records;
mod restore;
pub(crate) mod rows;
pub(crate) mod runs;
pub(crate) mod slice;
pub(crate) mod stored;
pub(crate) mod tensor;
pub(crate) mod unpack;
pub(crate) mod update;
pub(crate) mod verify;
pub(crate) mod weights;
