//! A statement of usage: what every namespace and repository took over a period, and what that
//! costs.

mod csv;
mod html;
mod sums;
mod text;

pub(crate) use self::csv::csv;
pub(crate) use self::html::html;
pub(crate) use self::sums::{Statement, Terms};
pub(crate) use self::text::text;
