//! Whole bytes in contexts: rows and columns of an 8-bit matrix differ in how far its values
//! spread, so they have *classes*, and each pair of a row's and a column's class is a context with
//! a table of its own. Columns have their classes in the model, rows in each chunk.

mod decoder;
mod encoder;
pub(crate) mod levels;
mod model;

pub(crate) use decoder::decode;
pub(crate) use encoder::{EncoderMemory, flush_cost};
pub(crate) use levels::{Mirror, levels_cost};
pub(crate) use model::{ByteContexts, Shape};
