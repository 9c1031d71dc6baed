//! A chunk on its way from the encoder to the output.

use std::borrow::Cow;
use std::sync::Arc;

use super::coder::StoredModel;
use super::known::Known;
use crate::batches::ChunkRef;

/// A chunk that is read and encoded.
pub(super) struct EncodedChunk<'a> {
    pub(super) at: ChunkRef,
    pub(super) raw: Cow<'a, [u8]>,
    pub(super) payload: Payload,
}

/// How a chunk is stored.
pub(super) enum Payload {
    /// As the first `len` of `bytes`, coded with the model, and with the base if `based` is set.
    Own { bytes: Vec<u8>, len: usize, model: Arc<StoredModel>, based: bool },
    /// As the chunk of the base, which is the same.
    Same,
    /// As the chunk of the earlier tensor with this index.
    Shared(u32),
    /// Not at all: the tensor is stored elsewhere.
    Known(Known),
}
