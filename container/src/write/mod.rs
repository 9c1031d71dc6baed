//! Writing: from safetensors to `.at1w`, and tensors in memory as a file.

pub(crate) mod coder;
pub(crate) mod dedup;
pub(crate) mod pack;
pub(crate) mod staged;
