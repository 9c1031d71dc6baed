//! Rows and columns of a weight matrix differ in scale. Adding an offset for each row and each
//! column to the magnitudes, which are close to logarithms, brings all to one scale, and one table
//! fits them better. Offsets are steps of an eighth of an octave.

mod columns;
mod offsets;
mod scaled;

pub(crate) use columns::Columns;
pub(crate) use offsets::{MAX_ROW_LEN, NONE, Scale, base};
pub(crate) use scaled::Scaled;
