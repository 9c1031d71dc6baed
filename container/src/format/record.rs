//! The record that the index holds for each tensor.

use bytemuck::{Pod, Zeroable};

/// The record of one tensor. Numbers are little-endian; there is no padding.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct TensorRecord {
    /// The SHA-256 of the raw bytes.
    pub(crate) digest: [u8; 32],
    /// The length of payloads, model and chunk table together, in bytes.
    pub(crate) stored_len: [u8; 8],
    /// The length of the model, in bytes. For a shared tensor, the index of the tensor whose bytes
    /// it shares.
    pub(crate) model_len: [u8; 4],
    /// [`MODEL_PLANES`].
    pub(crate) model_kind: u8,
    /// 0, [`SHARED`] or [`BASED`].
    pub(crate) flags: u8,
    /// 0.
    pub(crate) reserved: [u8; 2],
}

/// The length of a [`TensorRecord`], in bytes.
pub(crate) const RECORD_LEN: u64 = size_of::<TensorRecord>() as u64;

/// The one model kind there is: a table for each plane that wants one.
pub(crate) const MODEL_PLANES: u8 = 0;

/// The flag of a tensor that shares the stored bytes of an earlier one.
pub(crate) const SHARED: u8 = 1;

/// The flag of a tensor that has a base. Without stored bytes, it is the same as the base.
pub(crate) const BASED: u8 = 2;

impl TensorRecord {
    /// Makes the record of a tensor with stored bytes of its own.
    pub(crate) fn stored(digest: [u8; 32], stored_len: u64, model_len: u32) -> Self {
        Self {
            digest,
            stored_len: stored_len.to_le_bytes(),
            model_len: model_len.to_le_bytes(),
            model_kind: MODEL_PLANES,
            flags: 0,
            reserved: [0; 2],
        }
    }

    /// Makes the record of a tensor that shares the stored bytes of the tensor with index `other`.
    pub(crate) fn shared(digest: [u8; 32], other: u32) -> Self {
        Self { flags: SHARED, ..Self::stored(digest, 0, other) }
    }

    /// Makes the record of a tensor that has a base.
    pub(crate) fn based(self) -> Self {
        Self { flags: BASED, ..self }
    }

    /// Whether this version knows the model kind and the flags.
    pub(crate) fn is_known(&self) -> bool {
        self.model_kind == MODEL_PLANES && self.flags <= BASED && self.reserved == [0; 2]
    }

    /// Whether the tensor shares the stored bytes of an earlier one.
    pub(crate) fn is_shared(&self) -> bool {
        self.flags == SHARED
    }

    /// Whether the tensor has a base.
    pub(crate) fn is_based(&self) -> bool {
        self.flags == BASED
    }

    pub(crate) fn stored_len(&self) -> u64 {
        u64::from_le_bytes(self.stored_len)
    }

    /// Returns the length of the model; for a shared tensor, the index of the other tensor.
    pub(crate) fn model_len(&self) -> u32 {
        u32::from_le_bytes(self.model_len)
    }
}
