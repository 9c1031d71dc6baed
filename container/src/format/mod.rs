//! The parts of a file, as `docs/FORMAT.md` specifies them: what each holds, and how its bytes are
//! read, checked and made. Nothing here decodes or encodes a tensor.

pub(crate) mod bases;
pub(crate) mod chunk_table;
pub(crate) mod chunking;
pub(crate) mod features;
pub(crate) mod header;
mod header_json;
pub(crate) mod magic;
pub(crate) mod proof_head;
pub(crate) mod record;
pub(crate) mod root;
pub(crate) mod stored_header;
pub(crate) mod tensor_info;
pub(crate) mod trailer;
