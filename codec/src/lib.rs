#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod alias;
mod backend;
pub mod block;
mod builder;
mod byte_contexts;
mod chunk;
mod contexts;
mod cost;
mod counts;
mod cursor;
mod difference;
mod dtype;
mod error;
mod huffman;
mod lanes;
mod level;
mod limits;
mod model;
mod plane;
mod planes;
mod position;
mod prediction;
mod predictor;
mod quantise;
mod scale;
mod symbol;
mod tables;
mod tops;
mod varint;

pub use at1w_simd::planes::Layout;
pub use at1w_simd::{Backend, BackendError, Isa};
pub use backend::default_backend;
pub use builder::{DifferenceBuilder, DifferenceEstimate, ModelBuilder, Next};
pub use chunk::{Decoder, Encoder};
pub use dtype::Dtype;
pub use error::{DecodeError, EncodeError};
pub use level::{Level, UnknownLevel};
pub use limits::MAX_RAW_LEN;
pub use model::Model;
pub use position::Position;
pub use predictor::Predictor;
