//! The `.at1w` file: model weights, compressed tensor by tensor behind an index, every byte
//! verified as it is read.
//!
//! [`pack_file`] makes one from a safetensors file, and [`unpack_file`] gives that file back byte
//! for byte. [`Reader`] opens one and reads any [`Tensor`] of it, or a [`Slice`] of one, touching
//! only the chunks it needs. The root, checked on opening, pins everything that any read returns.
//! [`Weights`] opens a file of either format, and [`Staged`] makes one of tensors in memory.
//! [`repository`] does the same for directories.
//!
//! Work is spread over rayon's current thread pool; `ThreadPool::install` chooses another one.
//! The format is specified in `docs/FORMAT.md`.

mod backend;
mod batches;
mod differences;
mod digest;
mod error;
mod estimate;
mod format;
pub mod fs;
mod kind;
mod pool;
mod printable;
mod progress;
mod read;
mod recognise;
pub mod repository;
mod signature;
mod source;
mod summary;
mod write;

pub use at1w_codec::{Backend, BackendError, Dtype, Level, Model, UnknownLevel};

pub use self::differences::Differences;
pub use self::digest::{Digest, ParseDigestError};
pub use self::error::base::MissingBase;
pub use self::error::header::HeaderError;
pub use self::error::{Error, Result};
pub use self::estimate::{Estimate, Expected, Piece, Population, estimate, overhead_len};
pub use self::format::chunking::MAX_CHUNK_LEN;
pub use self::format::features::{KNOWN as FEATURES, names as feature_names};
pub use self::format::header::{Header, MAX_HEADER_LEN};
pub use self::format::magic::{MAGIC as FIRST_BYTES, MEDIA_TYPE, VERSION};
pub use self::format::tensor_info::TensorInfo;
pub use self::kind::{FileKind, Wanted, WrongKind};
pub use self::printable::{is_hidden, printable};
pub use self::progress::Progress;
pub use self::read::base::{FindBase, FoundBase, WantedBase};
pub use self::read::folders::Folders;
pub use self::read::info::FileInfo;
pub use self::read::loose::LooseTensor;
pub use self::read::options::{Limits, OpenOptions};
pub use self::read::proof::Proof;
pub use self::read::reader::Reader;
pub use self::read::receipt::Receipt;
pub use self::read::slice::{Index, ParseSliceError, Slice};
pub use self::read::tensor::{Tensor, TensorBase};
pub use self::read::unpack::{UnpackOptions, unpack_file};
pub use self::read::update::Updated;
pub use self::read::verify::VerifiedChunk;
pub use self::read::weights::Weights;
pub use self::recognise::{begins_packed, is_packed, open_file};
pub use self::signature::signed_message;
pub use self::source::{Mapped, ReadAt};
pub use self::summary::Summary;
pub use self::write::known::{PartBase, StoredLen};
pub use self::write::options::PackOptions;
pub use self::write::pack::{pack, pack_file};
pub use self::write::pack_base::PackBase;
pub use self::write::parts::{
    NewPart, Part, Parts, Place, UsedBase, pack_parts, part_digests, part_lens, replace_parts,
    tensor_digests,
};
pub use self::write::rebase::rebase_file;
pub use self::write::staged::{Staged, StagedTensor};
pub use self::write::tensor_store::TensorStore;
pub use self::write::version_estimate::VersionEstimate;
