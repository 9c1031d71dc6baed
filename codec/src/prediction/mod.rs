//! Contexts by prediction: an element is likely near the sum of some earlier elements of its row,
//! each times a coefficient of its column. An element whose prediction is near zero has one
//! context, an element whose prediction is far from it another, and the sign of the prediction is
//! likely that of the element.
//!
//! To predict many rows at once, symbols are coded column by column of a block of rows.

mod fit;
mod rows;

pub(crate) use fit::{Covariance, Fit};
pub(crate) use rows::{LEVELS, Prediction};
