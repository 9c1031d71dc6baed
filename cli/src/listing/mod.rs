//! Lists of tensors and of files.

pub(crate) mod files;
pub(crate) mod sort;
pub(crate) mod table;
pub(crate) mod tensors;
