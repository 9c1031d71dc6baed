//! Symbols of sign, exponent and the top three bits of the mantissa, coded together: in columns
//! whose mean is not zero one sign is likelier than the other, and the exponent is large. Columns
//! have *contexts* by how far their mean is from zero, or elements have them by how far from zero
//! they are [predicted](crate::prediction) to be, and each context has a table.
//!
//! Elements are scaled first, so that magnitudes gather in a window of 15 octaves; an element
//! outside of it is an escape.

mod decoder;
mod encoder;
pub(crate) mod frequencies;
mod model;

pub(crate) use decoder::{DecoderMemory, SymbolDecoder};
pub(crate) use encoder::EncoderMemory;
pub(crate) use model::{Assignment, Contexts};
