//! Benchmarks: `cargo bench -p at1w-benches`. Compare figures within one run only, as ratios to
//! `memcpy`.
