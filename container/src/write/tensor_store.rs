//! A store of tensors, as packing asks it.

use super::known::{PartBase, StoredLen};
use super::pack_base::PackBase;
use crate::digest::Digest;
use crate::format::tensor_info::TensorInfo;

/// A store of tensors, as packing asks it.
pub trait TensorStore: Sync {
    /// Whether there may be a tensor with the dtype and shape of this one, and with these bytes at
    /// its start and in its middle. Where there is none, the tensor is encoded at once; otherwise
    /// it is hashed first.
    fn may_have(&self, tensor: &TensorInfo, samples: &[u8]) -> bool;

    /// Finds the stored bytes of the tensor with this dtype, shape and SHA-256; returns their base
    /// as well, if they are differences to one.
    fn find(&self, tensor: &TensorInfo, digest: Digest) -> Option<(StoredLen, Option<PartBase>)>;

    /// Whether stored bytes that stand alone may be left for differences to a base, where these are
    /// far smaller.
    fn may_leave(&self, _tensor: &TensorInfo, _digest: Digest) -> bool {
        false
    }

    /// Whether a tensor that is not found has to stand alone, whatever differences would save.
    fn stands_alone(&self, _tensor: &TensorInfo, _digest: Digest) -> bool {
        false
    }

    /// Returns files of which new tensors may be stored as differences.
    fn bases(&self) -> &[PackBase] {
        &[]
    }

    /// Whether a tensor of a file, each named by its index, may be a base. It must stand alone.
    fn may_be_base(&self, _file: usize, _tensor: usize) -> bool {
        false
    }
}
