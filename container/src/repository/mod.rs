//! Repositories: directories whose `.safetensors` are packed and whose other files are carried
//! over, with a manifest that pins all of them.

mod carry;
mod completeness;
mod contents;
mod earlier_runs;
mod filter;
mod forecast;
mod in_place;
mod inside;
mod layout;
mod left_out;
mod links;
mod listed;
mod manifest;
mod names;
mod options;
mod pack;
mod plan;
mod shard_index;
mod signature;
mod summary;
mod target;
mod tree;
mod unpack;
mod verify;

pub use self::carry::sha256_of;
pub use self::contents::{ContentFile, Contents, FileId};
pub use self::filter::Filter;
pub use self::forecast::{Forecast, forecast};
pub use self::in_place::{InPlace, is_hub_cache, pack_in_place, unpack_in_place};
pub use self::layout::{Layout, Original};
pub use self::left_out::{LeftOut, Why};
pub use self::listed::is_repository;
pub use self::options::{Options, Update};
pub use self::pack::pack;
pub use self::signature::{original_digests, signed_manifest};
pub use self::summary::{PackedFile, Summary};
pub use self::unpack::unpack;
pub use self::verify::{Check, FileCheck, verify, verify_manifest};
pub use crate::error::fault::{Fault, Problem};
