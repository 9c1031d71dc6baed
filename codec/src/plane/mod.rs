//! One plane: symbols in, a mode with its stream out, and back.
//!
//! The mode goes into the directory of a chunk, with what else is needed to find the stream and to
//! begin with it. `docs/FORMAT.md` has the exact layout.

pub(crate) mod alone;
mod decoder;
mod encoder;
mod mode;
pub(crate) mod packed;
pub(crate) mod statistics;
pub(crate) mod table;

pub(crate) use decoder::{CodedPlane, Entry, OwnTables};
pub(crate) use encoder::{Choice, Stream, Suits};
