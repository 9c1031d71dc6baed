#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod block;
mod builder;
mod chunk;
mod contexts;
mod cost;
mod dtype;
mod error;
mod huffman;
mod lanes;
mod level;
mod model;
mod plane;
mod planes;
mod scale;
mod varint;

pub use at1w_simd::planes::Layout;
pub use at1w_simd::{Backend, BackendError};
pub use builder::{ModelBuilder, Next};
pub use chunk::{Decoder, Encoder, MAX_RAW_LEN, max_encoded_len};
pub use dtype::Dtype;
pub use error::{DecodeError, EncodeError};
pub use level::Level;
pub use model::Model;
