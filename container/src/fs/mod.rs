//! Files on disk: they appear whole or not at all.

pub(crate) mod atomic;
mod owner;
pub(crate) mod temporary;
