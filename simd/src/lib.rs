#![doc = include_str!("../README.md")]
//!
//! # Two ways of intrinsics
//!
//! An algorithm that several vector units share is generic over a trait of the unit, which pulp's
//! tokens implement by their methods. A kernel of one instruction set is a function with that
//! `#[target_feature]`, which has `core::arch` in safe Rust, and every instruction: pulp's tokens
//! have none of VBMI, VBMI2 and SHA. Its one unsafe call is where a token is matched.
#![deny(unsafe_op_in_unsafe_fn)]
// Targets without a vector back-end have no use for the code that vector back-ends share.
#![cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(unused))]

#[cfg(target_endian = "big")]
compile_error!(
    "at1w reads and writes little-endian words in place: big-endian targets are not supported"
);

pub mod alias;
pub mod byte_contexts;
pub mod contexts;
pub mod differences;
pub mod histogram;
pub mod huffman;
pub mod lanes;
pub mod packing;
pub mod planes;
pub mod prediction;
pub mod ranks;
pub mod scale;
#[cfg(feature = "sha256")]
pub mod sha256;

mod backend;
mod prefetch;

pub use backend::{Backend, BackendError, Isa};
