//! Vector kernels on slices, for compressed model weights.
//!
//! A *kernel* is a pure loop over slices whose preconditions are stated: it allocates nothing, does
//! no I/O, knows no file format and keeps no state. Its caller checks input, allocates and writes
//! headers.
//!
//! A kernel takes a [`Backend`] first: an instruction set that this machine has. It exists for each
//! of them that has something to win and has a scalar reference, which is its definition: on the
//! same input all back-ends give the same bytes.
//!
//! Intrinsics come in one of two ways, by the shape of the kernel. An algorithm that several vector
//! units share is generic over a trait of the unit, which pulp's tokens implement by their methods.
//! A kernel of one instruction set is a function with that `#[target_feature]`, which has
//! `core::arch` in safe Rust, and every instruction: pulp's tokens have none of VBMI, VBMI2 and
//! SHA. Its one unsafe call is where a token is matched.
//!
//! Lengths that do not fit are errors of the caller, and panic.

#![deny(unsafe_op_in_unsafe_fn)]
// Targets without a vector back-end have no use for the code that vector back-ends share.
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

pub use backend::{Backend, BackendError, Isa};
