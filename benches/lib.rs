//! What the benchmarks share: their data, the codecs beside ours, and taking turns.
//!
//! `scripts/bench.sh` prints the tables of `docs/BENCHMARKS.md`; `cargo bench -p at1w-benches`
//! runs criterion over the same data. Compare figures within one run only, as ratios.

pub mod data;
pub mod rivals;
mod tables;
mod turns;

pub use tables::lane_table;
pub use turns::{median, turns};
