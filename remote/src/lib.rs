//! Objects in buckets (S3, GCS, Azure), on web servers and in directories: random access to one
//! ([`RemoteFile`]), and the few operations that a store needs ([`Objects`]).
//!
//! Everything here blocks: the asynchronous runtime stays inside. Requests are retried with
//! backoff, end after a time, and are sent side by side up to a bound.

mod ahead;
mod answer;
mod cache;
mod error;
mod hub;
mod location;
mod objects;
mod open;
mod options;
mod origin;
mod ranges;
mod runtime;
mod source;
mod staged;
mod unblock;
mod upload;
mod web;
mod weights;

pub use object_store::ObjectStore;

pub use self::cache::{Cache, CachedFile};
pub use self::error::{Error, Result};
pub use self::hub::{Hub, Payload};
pub use self::location::{is_remote, is_web};
pub use self::objects::{Created, Meta, Objects, Tally};
pub use self::open::{open_url, open_url_with};
pub use self::options::UrlOptions;
pub use self::ranges::{GAP, coalesced};
pub use self::runtime::choose_encryption;
pub use self::source::{RemoteFile, read_many};
pub use self::unblock::unblock;
pub use self::upload::{Finishing, Upload};
pub use self::weights::{OpenError, RemoteWeights, open_weights};
