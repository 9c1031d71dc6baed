//! The trailer: the last bytes of a file, of fixed size, which say where everything else is.

use bytemuck::{Pod, Zeroable};

use super::features;
use super::magic::{END_MAGIC, VERSION};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The trailer. Numbers are little-endian; there is no padding.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Trailer {
    /// The offset of the index in the file.
    pub(crate) index_offset: [u8; 8],
    pub(crate) tensor_count: [u8; 8],
    /// The length of the header as it is stored, in bytes.
    pub(crate) header_stored_len: [u8; 8],
    /// The length of the header of the original file, in bytes.
    pub(crate) header_len: [u8; 8],
    /// The SHA-256 of the index.
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
    /// The first bytes of the SHA-256 of everything before it in the trailer.
    pub(crate) checksum: [u8; 8],
    pub(crate) magic: [u8; 8],
}

/// The length of a [`Trailer`], in bytes.
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

    /// Reads the trailer of a file of `file_len` bytes, which ends as an `.at1w` file. Checks that
    /// the trailer is intact, and of a version that this crate reads.
    pub(crate) fn parse(bytes: &[u8], file_len: u64) -> Result<Self> {
        let trailer: Self = bytemuck::pod_read_unaligned(bytes);
        let version = u32::from_le_bytes(trailer.version);
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let damaged = |problem: &str| {
            let offset = file_len - TRAILER_LEN;
            Error::Damaged { section: "trailer", offset, problem: problem.into() }
        };
        if trailer.checksum != trailer.expected_checksum() {
            return Err(damaged("its checksum does not match"));
        }
        if trailer.reserved != [0; 3] {
            return Err(damaged("reserved bytes are not 0"));
        }
        let unknown = features::unknown(u64::from_le_bytes(trailer.required_features));
        if unknown != 0 {
            return Err(Error::Features(unknown));
        }
        Ok(trailer)
    }
}
