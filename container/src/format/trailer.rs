//! The bytes of the file outside of the tensors: magic, tensor records, trailer. What each means
//! is in `docs/FORMAT.md`.

use bytemuck::{Pod, Zeroable};

use crate::digest::{Digest, Hasher};
use crate::{Error, Result};

/// The version that this crate reads and writes.
pub const VERSION: u32 = 1;

/// The first bytes of a file. As the length of a safetensors header they are absurd, so that
/// readers of safetensors refuse the file; the line ends show damage by text conversion.
pub(crate) const MAGIC: [u8; 8] = *b"at1w\r\n\x1a\n";

/// The last bytes of a file.
pub(crate) const END_MAGIC: [u8; 8] = *b"\nat1wEND";

/// Prefixes of the tagged digests.
pub(crate) const ROOT_TAG: &[u8; 16] = b"at1w root v1\n\0\0\0";
pub(crate) const TENSOR_TAG: &[u8; 16] = b"at1w tensor v1\n\0";

/// How the header is stored.
pub(crate) const HEADER_PLAIN: u8 = 0;
pub(crate) const HEADER_DEFLATED: u8 = 1;

/// A deflated header is never more than this many times smaller than it was.
pub(crate) const MAX_DEFLATE_RATIO: u64 = 64;

/// The one model kind there is: a table for each plane that wants one.
pub(crate) const MODEL_PLANES: u8 = 0;

/// Bytes of a chunk table per chunk and per chunk but the last.
pub(crate) const PAYLOAD_LEN: u64 = 4;
pub(crate) const STATE_LEN: u64 = 32;

/// Bytes of the chunk table of a tensor of `chunks` chunks.
pub(crate) fn chunk_table_len(chunks: u64) -> u64 {
    if chunks == 1 { 0 } else { chunks * PAYLOAD_LEN + (chunks - 1) * STATE_LEN }
}

/// One tensor. Numbers are little-endian; there is no padding.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct TensorRecord {
    /// SHA-256 of the raw bytes.
    pub(crate) digest: [u8; 32],
    /// Bytes of payloads, model and chunk table together.
    pub(crate) stored_len: [u8; 8],
    /// Bytes of the model; of a shared tensor, the index of the one that it shares with.
    pub(crate) model_len: [u8; 4],
    pub(crate) model_kind: u8,
    /// 0 or [`SHARED`].
    pub(crate) flags: u8,
    /// 0.
    pub(crate) reserved: [u8; 2],
}

/// The flag of a tensor that has the stored bytes of an earlier one.
pub(crate) const SHARED: u8 = 1;

/// Bytes of a [`TensorRecord`].
pub(crate) const RECORD_LEN: u64 = size_of::<TensorRecord>() as u64;

/// The last bytes of the file, of fixed size.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Trailer {
    /// Where the index begins, in the file.
    pub(crate) index_offset: [u8; 8],
    pub(crate) tensor_count: [u8; 8],
    /// Bytes of the header as it is stored.
    pub(crate) header_stored_len: [u8; 8],
    /// Bytes of the header of the original file.
    pub(crate) header_len: [u8; 8],
    /// SHA-256 of the index.
    pub(crate) index_digest: [u8; 32],
    pub(crate) root: [u8; 32],
    pub(crate) original_len: [u8; 8],
    pub(crate) original_digest: [u8; 32],
    pub(crate) required_features: [u8; 8],
    pub(crate) optional_features: [u8; 8],
    pub(crate) header_encoding: u8,
    /// 0.
    pub(crate) reserved: [u8; 3],
    pub(crate) version: [u8; 4],
    /// The first bytes of the SHA-256 of everything before.
    pub(crate) checksum: [u8; 8],
    pub(crate) magic: [u8; 8],
}

/// Bytes of a [`Trailer`].
pub(crate) const TRAILER_LEN: u64 = size_of::<Trailer>() as u64;

impl Trailer {
    /// Sets the checksum and the magic.
    pub(crate) fn seal(mut self) -> Self {
        self.checksum = self.expected_checksum();
        self.magic = END_MAGIC;
        self
    }

    fn expected_checksum(&self) -> [u8; 8] {
        let covered = std::mem::offset_of!(Self, checksum);
        let Digest(digest) = Digest::of(&bytemuck::bytes_of(self)[..covered]);
        let mut checksum = [0; 8];
        checksum.copy_from_slice(&digest[..8]);
        checksum
    }

    /// The trailer of a file of `file_len` bytes that ends as an `.at1w` file, intact and of a kind
    /// that this crate reads.
    pub(crate) fn parse(bytes: &[u8], file_len: u64) -> Result<Self> {
        let trailer: Self = bytemuck::pod_read_unaligned(bytes);
        let version = u32::from_le_bytes(trailer.version);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        if trailer.checksum != trailer.expected_checksum() {
            let offset = file_len - TRAILER_LEN;
            let problem = "its checksum does not match".into();
            return Err(Error::Damaged { section: "trailer", offset, problem });
        }
        if trailer.reserved != [0; 3] {
            let offset = file_len - TRAILER_LEN;
            let problem = "reserved bytes are not 0".into();
            return Err(Error::Damaged { section: "trailer", offset, problem });
        }
        let required = u64::from_le_bytes(trailer.required_features);
        if required != 0 {
            return Err(Error::Features(required));
        }
        Ok(trailer)
    }
}

/// The digest that stands for a tensor's content in the root: with one chunk its plain SHA-256,
/// otherwise a tagged one over its chunk states (as bytes) and its plain SHA-256.
pub(crate) fn content_digest(states: &[u8], digest: Digest) -> Digest {
    if states.is_empty() {
        return digest;
    }
    let mut hasher = Hasher::tagged(TENSOR_TAG);
    hasher.update(states);
    hasher.update(&digest.0);
    hasher.finish()
}

/// The root: what pins every byte of the original file.
pub(crate) fn root(header: &[u8], content_digests: impl Iterator<Item = Digest>) -> Digest {
    let mut hasher = Hasher::tagged(ROOT_TAG);
    hasher.update(&(header.len() as u64).to_le_bytes());
    hasher.update(header);
    for digest in content_digests {
        hasher.update(&digest.0);
    }
    hasher.finish()
}
