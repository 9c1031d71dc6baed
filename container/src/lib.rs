//! The `.at1w` file: model weights, compressed tensor by tensor behind an index, every byte
//! verified as it is read.
//!
//! [`pack_file`] makes one from a safetensors file and [`unpack_file`] gives that file back byte
//! for byte. [`Reader`] opens one and reads any [`Tensor`] of it, or a [`Slice`] of one, touching
//! only the chunks it needs. The root, checked on opening, pins everything that any read returns.
//! [`Weights`] opens a file of either format, and [`Staged`] makes one of tensors in memory.
//!
//! Work is spread over rayon's current thread pool; `ThreadPool::install` chooses another one.
//! The format is specified in `docs/FORMAT.md`.

mod digest;
mod error;
mod format;
mod fs;
mod kind;
mod pool;
mod printable;
mod progress;
mod read;
mod repository;
mod source;
mod write;

pub use at1w_codec::{Backend, BackendError, Dtype, Level, Model};
pub use digest::{Digest, ParseDigestError};
pub use error::{Error, HeaderError, Result};
pub use format::chunking::MAX_CHUNK_LEN;
pub use format::header::{Header, MAX_HEADER_LEN, TensorInfo};
pub use format::trailer::VERSION;
pub use fs::atomic::{check_distinct, write_atomically, write_like, write_secret};
pub use kind::{FileKind, Wanted, open_file};
pub use printable::{is_hidden, printable};
pub use progress::Progress;
pub use read::reader::{FileInfo, Limits, OpenOptions, Reader};
pub use read::slice::{Index, ParseSliceError, Slice};
pub use read::tensor::Tensor;
pub use read::unpack::{UnpackOptions, unpack_file};
pub use read::weights::Weights;
pub use repository::signature::{signed_manifest, signed_message};
pub use repository::{
    Fault, FileCheck, Observer, PackedFile, Problem, RepositoryCheck, RepositoryOptions,
    RepositorySummary, is_repository, pack_repository, unpack_repository, verify_manifest,
    verify_repository,
};
pub use source::{Mapped, ReadAt};
pub use write::pack::{PackOptions, Summary, begins_packed, is_packed, pack, pack_file};
pub use write::staged::{Staged, StagedTensor};

/// How a tensor is coded: one of an unknown dtype as bytes.
fn coded_as(tensor: &TensorInfo) -> Dtype {
    tensor.dtype().unwrap_or(Dtype::U8)
}
