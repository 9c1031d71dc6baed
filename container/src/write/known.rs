//! The stored bytes of a tensor that lie elsewhere.

use at1w_codec::Predictor;

use crate::digest::Digest;
use crate::format::bases::{Base, BaseModel};
use crate::format::features::FINE_BYTES;

/// The lengths of the stored bytes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLen {
    /// The length of payloads, model and chunk table together, in bytes.
    pub stored_len: u64,
    /// The length of the model among them, in bytes; with 2^31 added where readers of the model
    /// need the feature fine-bytes, so that a file that is made of stored bytes names it.
    pub model_len: u32,
}

/// Added to the length of a model that needs the feature. No model is that long.
const FINE: u32 = 1 << 31;

impl StoredLen {
    /// Makes the lengths of a tensor whose model needs these features.
    pub(super) fn new(stored_len: u64, model_len: u32, features: u64) -> Self {
        let fine = if features & FINE_BYTES != 0 { FINE } else { 0 };
        Self { stored_len, model_len: model_len | fine }
    }

    /// Returns the length of the model, and the features that its readers need.
    pub(crate) fn model(self) -> (u32, u64) {
        (self.model_len & !FINE, if self.model_len & FINE != 0 { FINE_BYTES } else { 0 })
    }
}

/// The base of stored bytes that are differences to it. It stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartBase {
    /// The content digest of the base.
    pub digest: Digest,
    /// Whether the base is F32 and is rounded to the dtype of the tensor; otherwise it has the same
    /// dtype.
    pub rounded: bool,
}

/// The name and the root of the model in an index that has all bases which lie in a store: a file
/// may have more of them than there are numbers for models, and the store knows where each is.
const NAME: &str = "stored";
const ROOT: Digest = Digest([0; 32]);

impl PartBase {
    /// Returns the model of the bases of a store.
    pub(super) fn model() -> BaseModel {
        BaseModel { root: ROOT, name: NAME.into() }
    }

    /// Returns the base, of the model with an index, as an index has it.
    pub(super) fn entry(&self, model: u8) -> Base {
        let predictor = if self.rounded { Predictor::Rounding } else { Predictor::Identity };
        Base { model, depth: 1, predictor, name: None, digest: Some(self.digest) }
    }
}

/// The stored bytes of a tensor that are not made again.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) len: StoredLen,
    pub(super) base: Option<PartBase>,
}
