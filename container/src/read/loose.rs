//! Bases that lie in no file: stored bytes of a tensor that stands alone, in any place.

use std::fmt;
use std::sync::Arc;

use at1w_codec::{Backend, Dtype, Encoder, Model, Predictor};

use super::base::{BaseFile, FoundBase, WantedBase};
use super::index::Entry;
use super::stored::Stored;
use crate::backend::chosen;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::chunk_table::chunk_table_len;
use crate::format::chunking::Chunking;
use crate::format::tensor_info::{Kind, TensorInfo};
use crate::source::ReadAt;
use crate::write::known::StoredLen;

/// Stored bytes of a tensor that stands alone.
pub struct LooseTensor {
    /// The source that the bytes are in. Those of one source are read together.
    pub source: Arc<dyn ReadAt>,
    /// The offset of the first.
    pub start: u64,
    /// The lengths of the stored bytes.
    pub len: StoredLen,
    /// The SHA-256 of the raw bytes.
    pub digest: Digest,
    /// The content digest.
    pub content_digest: Digest,
}

impl fmt::Debug for LooseTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LooseTensor")
            .field("start", &self.start)
            .field("len", &self.len)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// A loose tensor that is the base of another.
struct LooseBase {
    tensor: LooseTensor,
    info: TensorInfo,
    backend: Backend,
}

impl BaseFile for LooseBase {
    fn stored(&self, _: usize) -> Result<Stored<'_>> {
        let LooseTensor { source, start, len, digest, content_digest } = &self.tensor;
        let (model_len, features) = len.model();
        let entry = Entry {
            digest: *digest,
            content_digest: *content_digest,
            model_len: model_len.into(),
            start: *start,
            end: start + len.stored_len,
            shared: false,
            record: 0,
            base: None,
        };
        Ok(Stored {
            source: &**source,
            info: &self.info,
            entry,
            backend: self.backend,
            features,
            plain: None,
            versions: None,
            via: None,
        })
    }
}

impl WantedBase<'_> {
    /// Offers stored bytes as the base. `label` names them in errors.
    ///
    /// # Errors
    /// [`Error::WrongBase`] if they cannot be those of a tensor of its dtype and shape.
    pub fn in_place(&self, tensor: LooseTensor, label: &str) -> Result<FoundBase> {
        let info = self.base_info();
        let chunks = Chunking::of(&info).count();
        let LooseTensor { start, len, .. } = &tensor;
        let model_len = u64::from(len.model().0);
        let most = match chunks {
            1 => Model::MAX_LEN as u64 + Encoder::max_encoded_len(info.raw_len() as usize) as u64,
            _ => u64::MAX,
        };
        let fits = start.checked_add(len.stored_len).is_some()
            && chunk_table_len(chunks) + model_len <= len.stored_len
            && model_len <= Model::MAX_LEN as u64
            && len.stored_len <= most
            && (chunks > 1 || tensor.digest == tensor.content_digest);
        if !fits {
            let (tensor, base) = (self.version.name().into(), label.into());
            let problem = "its lengths or digests do not fit its dtype and shape".into();
            return Err(Error::WrongBase { tensor, base, problem });
        }
        let base = LooseBase { tensor, info, backend: chosen(None)? };
        Ok(FoundBase { file: Arc::new(base), tensor: 0, label: label.into() })
    }

    /// Returns the entry of the base in a header, which may begin anywhere.
    fn base_info(&self) -> TensorInfo {
        let version = self.version;
        let kind = match (self.predictor, &version.kind) {
            (Predictor::Identity, Kind::Known(dtype)) => Kind::Known(*dtype),
            (Predictor::Identity, Kind::Unknown(name)) => Kind::Unknown(name.clone()),
            (_, _) => Kind::Known(Dtype::F32),
        };
        let data = 0..self.predictor.base_len(version.raw_len());
        TensorInfo { name: self.tensor.into(), kind, shape: version.shape.clone(), data }
    }
}
