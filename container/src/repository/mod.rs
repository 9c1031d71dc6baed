//! Repositories: directories whose `.safetensors` are packed and whose other files are carried
//! over, with a manifest that pins all of them.

mod carry;
mod completeness;
mod contents;
mod listed;
mod manifest;
mod names;
mod options;
mod pack;
mod shard_index;
mod signature;
mod summary;
mod target;
mod tree;
mod unpack;
mod verify;

pub use self::contents::{ContentFile, Contents, FileId};
pub use self::listed::is_repository;
pub use self::options::Options;
pub use self::pack::pack;
pub use self::signature::signed_manifest;
pub use self::summary::{PackedFile, Summary};
pub use self::unpack::unpack;
pub use self::verify::{Check, FileCheck, verify, verify_manifest};
pub use crate::error::fault::{Fault, Problem};
