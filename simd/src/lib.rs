//! Vector kernels on slices, for compressed model weights.
//!
//! A *kernel* is a pure loop over slices whose preconditions are stated: it
//! allocates nothing, does no I/O, knows no file format and keeps no state.
//! Checking input, allocating and writing headers is the business of its
//! caller.
//!
//! Every kernel exists for each [`Backend`] (AVX-512, AVX2, NEON) that has
//! something to win and has a scalar reference, which is its definition: on the
//! same input all back-ends give the same bytes. [`Backend::active`] picks the best one this machine
//! has, or the one that the environment variable `AT1W_SIMD` names.
//!
//! Lengths that do not fit are errors of the caller, and panic.

#![deny(unsafe_op_in_unsafe_fn)]
// Where there is no vector back-end, what these share has no use.
#![cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(unused))]

#[cfg(target_endian = "big")]
compile_error!(
    "at1w reads and writes little-endian words in place: big-endian targets are not supported"
);

pub mod contexts;
pub mod histogram;
pub mod huffman;
pub mod lanes;
pub mod packing;
pub mod planes;
pub mod prediction;
pub mod scale;
#[cfg(feature = "sha256")]
pub mod sha256;

mod backend;
mod prefetch;

pub use backend::{Backend, BackendError, UnknownBackend};
