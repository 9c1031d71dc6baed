//! Comparing weights by the digests of their tensors.

pub(crate) mod directories;
pub(crate) mod tensors;
