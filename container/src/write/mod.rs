//! Writing: from safetensors to `.at1w`, and tensors in memory as a file.
//!
//! `pack` leads: `dedup` finds equal tensors, `measure` makes the models of large ones,
//! `batch_encoder` reads and encodes chunks by `coder`, and `output` hashes and writes them.
//! `versions` finds bases in other files. `parts` packs for a store, which has some tensors
//! already.

mod batch_encoder;
mod buffers;
mod chunk;
mod coder;
mod dedup;
mod depths;
pub(crate) mod known;
mod measure;
pub(crate) mod options;
mod output;
pub(crate) mod pack;
pub(crate) mod pack_base;
pub(crate) mod parts;
pub(crate) mod rebase;
pub(crate) mod staged;
mod tensor_order;
pub(crate) mod tensor_store;
pub(crate) mod version_estimate;
mod versions;
