//! The order of a list.

use std::cmp::Reverse;

use clap::{Args, ValueEnum};

/// How a list is sorted.
#[derive(Args)]
pub(crate) struct Order {
    /// Sort by this: names and dtypes from A to Z, sizes and ratios from the largest [default: as
    /// they lie in the file or directory]
    #[arg(long, value_name = "BY")]
    sort: Option<By>,
    /// Turn the order around
    #[arg(long, short)]
    reverse: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// The name
    Name,
    /// The size before packing
    Size,
    /// The size as it is stored
    Stored,
    /// The stored size in percent of the size before packing
    Ratio,
    /// The dtype, then the name
    Dtype,
}

/// An entry that can be sorted.
pub(super) trait Sortable {
    fn name(&self) -> &str;
    fn dtype(&self) -> String;
    /// Returns the size before packing, and the size as it is stored.
    fn sizes(&self) -> (u64, u64);
}

impl Order {
    pub(super) fn apply<T: Sortable>(&self, rows: &mut [T]) {
        match self.sort {
            None => {}
            Some(By::Name) => rows.sort_by(|a, b| a.name().cmp(b.name())),
            Some(By::Size) => rows.sort_by_key(|row| Reverse(row.sizes().0)),
            Some(By::Stored) => rows.sort_by_key(|row| Reverse(row.sizes().1)),
            Some(By::Ratio) => rows.sort_by(|a, b| ratio(b).total_cmp(&ratio(a))),
            Some(By::Dtype) => rows.sort_by_cached_key(|row| (row.dtype(), row.name().to_owned())),
        }
        if self.reverse {
            rows.reverse();
        }
    }
}

/// Returns the stored part of a size; 0 for an empty tensor.
fn ratio(row: &impl Sortable) -> f64 {
    let (size, stored) = row.sizes();
    if size == 0 { 0.0 } else { stored as f64 / size as f64 }
}
