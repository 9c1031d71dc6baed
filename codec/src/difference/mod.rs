//! Differences to a base: the words of a version of a tensor, less those of an earlier version.
//! How far words move depends on how large they are, so words are sorted into classes by the
//! exponent of the base, and each class has tables of its own.

mod classes;
mod decoder;
mod encoder;
mod model;
pub(crate) mod word;

pub(crate) use decoder::DifferenceDecoder;
pub(crate) use encoder::DifferenceEncoder;
pub(crate) use model::Differences;
