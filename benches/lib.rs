//! The shared parts of the benchmarks: data, the codecs to compare with, and measuring in turn.
//!
//! `scripts/bench.sh` prints the tables of `docs/BENCHMARKS.md`; `cargo bench -p at1w-benches`
//! runs criterion over the same data. Compare figures within one run only, as ratios.

pub mod baselines;
pub mod data;
mod interleaved;
mod machine;
mod ratio;
mod tables;

pub use interleaved::{interleaved, median};
pub use machine::Machine;
pub use ratio::ratio;
pub use tables::lane_table;
