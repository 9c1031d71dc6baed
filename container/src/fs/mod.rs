//! Files on disk: they appear whole or not at all.

pub(crate) mod atomic;
pub(crate) mod identity;
mod owner;
pub(crate) mod temporary;
pub(crate) mod time;

pub use self::atomic::{check_distinct, write_atomically, write_like, write_secret};
