//! Objects in buckets (S3, GCS, Azure), on web servers and in directories: random access to one
//! ([`RemoteFile`]), and the few operations that a store needs ([`Objects`]).
//!
//! Everything here blocks: the asynchronous runtime stays inside. Requests are retried with
//! backoff, end after a time, and are sent side by side up to a bound.

mod error;
mod location;
mod objects;
mod open;
mod ranges;
mod runtime;
mod source;
mod staged;
mod upload;

pub use object_store::ObjectStore;

pub use self::error::{Error, Result};
pub use self::location::is_remote;
pub use self::objects::{Created, Meta, Objects};
pub use self::open::open_url;
pub use self::source::{RemoteFile, read_many};
pub use self::upload::{Finishing, Upload};
