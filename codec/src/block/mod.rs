//! Chunks that stand alone: a block knows its layout and its raw length, needs no model beside it
//! and has no position. Storage engines whose values are independent of each other keep blocks.
//!
//! A **bare** block has no checksum. Do not rely on it to notice damage: of all single flipped bits
//! two of three decode to wrong bytes without an error. It is for stores that have checksums of
//! their own. A **checked** block is four bytes longer and ends with a CRC-32: every flipped bit,
//! every damage within 32 neighbouring bits and all but one in 2^32 of others are noticed.
//! That is a check for accidents, not against forgery.
//!
//! ```
//! use at1w_codec::block::{BlockDecoder, BlockEncoder};
//! use at1w_codec::{Dtype, Level};
//!
//! let weights: Vec<f32> = (0..4096).map(|i| (i as f32).sin()).collect();
//! let mut encoder = BlockEncoder::checked(Level::Default);
//! let mut block = Vec::new();
//! encoder.encode_slice_into(Dtype::F32, &weights, &mut block)?;
//!
//! let mut decoder = BlockDecoder::checked();
//! let mut back = vec![0_f32; 4096];
//! decoder.decode_slice(&block, &mut back)?;
//! assert_eq!(back, weights);
//!
//! block[100] ^= 1;
//! assert!(decoder.decode_slice(&block, &mut back).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/FORMAT.md` has the layout, in section 16.

mod decoder;
mod encoder;
mod head;

pub use decoder::BlockDecoder;
pub use encoder::BlockEncoder;
