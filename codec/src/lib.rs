//! Lossless compression of model weights, one chunk at a time.
//!
//! Weights look random to a general compressor because the predictable part of each float (its
//! exponent) is interleaved with the unpredictable one (its mantissa), and because rows and columns
//! of a matrix differ in scale. This crate brings elements to one scale, splits them into byte
//! planes, codes each plane by the cheapest of raw, constant, packed bits, Huffman and lane rANS,
//! and gives back exactly the same bytes. bf16 comes to about two thirds, f32 to about five sixths.
//! A [`Level`] chooses between speed and size.
//!
//! It does no I/O, starts no threads and has no `unsafe`. It never allocates from a length that is
//! not backed by input or given by the caller, and nothing at all once encoders and decoders have
//! seen chunks of the same kind. Chunks are independent of each other; half a MiB is a good size.
//!
//! Two ways to use it:
//! - [`Model`] with [`Encoder`] and [`Decoder`]: the chunks of one tensor share tables, which are
//!   kept once. This is what `.at1w` files do.
//! - [`block`]: every value stands alone, with or without a checksum.
//!
//! Blocks are made of bytes or of typed slices; for chunks `bytemuck::cast_slice` makes bytes of a
//! slice.
//!
//! **A chunk has no checksum.** Damage, the model of another tensor or a wrong [`Position`] can
//! decode to wrong bytes without an error. Keep a checksum beside it, as `.at1w` files do, or use
//! checked blocks.
//!
//! ```
//! use at1w_codec::{Decoder, Dtype, Encoder, Level, Position};
//!
//! let raw: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
//! let mut encoder = Encoder::new(Level::Default);
//! let model = encoder.model(Dtype::F32, &[64, 64], [&raw[..]])?;
//!
//! let mut encoded = Vec::new();
//! encoder.encode_into(&model, Position::START, &raw, &mut encoded)?;
//! assert!(encoded.len() < raw.len());
//!
//! let mut back = vec![0; raw.len()];
//! Decoder::new().decode(&model, Position::START, &encoded, &mut back)?;
//! assert_eq!(back, raw);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Of the kernels below only three types are part of this API: [`Layout`], and [`Backend`] with its
//! error, for the choice of instructions.
#![forbid(unsafe_code)]

pub mod block;
mod builder;
mod chunk;
mod contexts;
mod cost;
mod counts;
mod cursor;
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
mod scale;
mod symbol;
mod tops;
mod varint;

pub use at1w_simd::planes::Layout;
pub use at1w_simd::{Backend, BackendError};
pub use builder::{ModelBuilder, Next};
pub use chunk::{Decoder, Encoder};
pub use dtype::Dtype;
pub use error::{DecodeError, EncodeError};
pub use level::Level;
pub use limits::MAX_RAW_LEN;
pub use model::Model;
pub use position::Position;
