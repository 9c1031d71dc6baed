//! One message after the other, by the `sha2` crate, which has its own use of SHA extensions.

use sha2::digest::generic_array::GenericArray;
use sha2::digest::typenum::U64;

use super::{BLOCK_LEN, State};

pub(super) fn compress(state: &mut State, blocks: &[[u8; BLOCK_LEN]]) {
    // SAFETY: a generic array of 64 bytes is 64 bytes, like a block: it is `repr(transparent)` over
    // nested structs without padding, and both are aligned to a byte.
    let blocks: &[GenericArray<u8, U64>] =
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len()) };
    sha2::compress256(state, blocks);
}
