//! One chunk: raw bytes in, encoded bytes out, and back.
//!
//! The first byte names the [method]. `docs/FORMAT.md` has the exact layout.

mod decoder;
mod encoder;
mod match_finder;
mod matches;
mod method;
mod planes_decoder;
mod planes_encoder;
mod strips;

pub use decoder::Decoder;
pub use encoder::Encoder;
