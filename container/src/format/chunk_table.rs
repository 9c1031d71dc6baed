//! The sizes of the chunk table of a tensor: a length for each payload, and the SHA-256 state after
//! each chunk but the last.

/// The length of the entry that holds the length of a payload, in bytes.
pub(crate) const PAYLOAD_LEN: u64 = 4;

/// The length of a chunk state, in bytes.
pub(crate) const STATE_LEN: u64 = 32;

/// Returns the length of the chunk table of a tensor of `chunks` chunks, in bytes.
pub(crate) fn chunk_table_len(chunks: u64) -> u64 {
    if chunks == 1 { 0 } else { chunks * PAYLOAD_LEN + (chunks - 1) * STATE_LEN }
}
