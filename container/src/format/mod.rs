//! The parts of a file, as `docs/FORMAT.md` specifies them: what each holds, and how its bytes are
//! read, checked and made. Nothing here decodes or encodes a tensor.

pub(crate) mod chunking;
pub(crate) mod header;
pub(crate) mod trailer;
