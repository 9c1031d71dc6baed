//! Lossless compression of model weights, one chunk at a time.
//!
//! Weights look random to a general compressor because the predictable part of each float (its
//! exponent) is interleaved with the unpredictable one (its mantissa), and because rows and columns
//! of a matrix differ in scale. This crate brings elements to one scale, splits them into byte
//! planes, codes each plane by the cheapest of raw, constant, packed bits, Huffman and lane rANS, and
//! gives back exactly the same bytes. bf16 comes to about two thirds, f32 to about five sixths. A
//! [`Level`] says how hard it looks.
//!
//! It does no I/O, starts no threads, has no `unsafe`, and never allocates from a length that it
//! was not given memory for. Chunks are independent of each other; half a MiB is a good size.
//!
//! Two ways to use it:
//! - [`Model`] with [`Encoder`] and [`Decoder`]: the chunks of one tensor share tables, which are
//!   kept once. This is what `.at1w` files do.
//! - [`block`]: every value stands alone.
//!
//! ```
//! use at1w_codec::{Decoder, Dtype, Encoder, Level, Model, max_encoded_len};
//!
//! let raw: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
//! let model = Model::of(Dtype::F32, Level::Default, &[64, 64], [&raw[..]])?;
//!
//! let mut encoded = vec![0; max_encoded_len(raw.len())];
//! let len = Encoder::new(Level::Default).encode(&model, 0, &raw, &mut encoded)?;
//! assert!(len < raw.len());
//!
//! let mut back = vec![0; raw.len()];
//! Decoder::new().decode(&model, 0, &encoded[..len], &mut back)?;
//! assert_eq!(back, raw);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod backend;
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
pub use at1w_simd::{Backend, BackendError, Isa};
pub use backend::default_backend;
pub use builder::{ModelBuilder, Next};
pub use chunk::{Decoder, Encoder, MAX_RAW_LEN, max_encoded_len};
pub use dtype::Dtype;
pub use error::{DecodeError, EncodeError};
pub use level::Level;
pub use model::Model;
