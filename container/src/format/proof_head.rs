//! The first bytes of a proof, of fixed size, and the checksum that a proof ends with.

use bytemuck::{Pod, Zeroable};

use super::features;
use super::magic::VERSION;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The first bytes of a proof.
pub(crate) const PROOF_MAGIC: [u8; 4] = *b"at1p";

/// The length of the checksum at the end of a proof, in bytes.
pub(crate) const CHECKSUM_LEN: usize = 8;

/// The first bytes of a proof. Numbers are little-endian; there is no padding.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ProofHead {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u8,
    /// The required features: those of the file that the model uses.
    pub(crate) features: u8,
    /// The length of the text of the slice, in bytes.
    pub(crate) slice_len: [u8; 2],
    pub(crate) header_len: [u8; 4],
    /// The length of the deflated header, in bytes; 0 for a header that is there as it is.
    pub(crate) deflated_len: [u8; 4],
    /// The index of the tensor in data order.
    pub(crate) tensor: [u8; 4],
    /// The length of the model, in bytes.
    pub(crate) model_len: [u8; 4],
}

/// The length of a [`ProofHead`], in bytes.
pub(crate) const HEAD_LEN: usize = size_of::<ProofHead>();

/// Returns the checksum of the bytes of a proof before it.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let Digest(digest) = Digest::of(bytes);
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&digest[..CHECKSUM_LEN]);
    checksum
}

impl ProofHead {
    /// Reads the head of a proof. Checks that the proof is intact, and of a version and with
    /// features that this crate reads.
    pub(crate) fn parse(proof: &[u8]) -> Result<Self> {
        if !proof.starts_with(&PROOF_MAGIC) {
            return Err(Error::NotAProof);
        }
        let damaged = |offset: usize, problem: &str| Error::Damaged {
            section: "proof",
            offset: offset as u64,
            problem: problem.into(),
        };
        let end = proof.len().checked_sub(CHECKSUM_LEN).filter(|&end| end >= HEAD_LEN);
        let end = end.ok_or_else(|| damaged(proof.len(), "it is cut short"))?;
        let head: Self = bytemuck::pod_read_unaligned(&proof[..HEAD_LEN]);
        if u32::from(head.version) != VERSION {
            return Err(Error::Version { found: head.version.into(), known: VERSION });
        }
        if proof[end..] != checksum(&proof[..end]) {
            return Err(damaged(end, "its checksum does not match"));
        }
        match features::unknown(head.features.into()) {
            0 => Ok(head),
            unknown => Err(Error::Features(unknown)),
        }
    }
}
