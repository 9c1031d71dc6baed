#![doc = include_str!("../README.md")]
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
