//! The bases of versions: which tensor of which other file is wanted, who finds it, and what was
//! found.

use std::fmt;
use std::sync::Arc;

use at1w_codec::Predictor;

use super::stored::{Stored, Via};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::bases::Base;
use crate::format::tensor_info::TensorInfo;

/// The base that a tensor needs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WantedBase<'a> {
    /// The name that the file of the base had: a hint, which anyone may have written.
    pub file: &'a str,
    /// The root of the file that the base was in.
    pub root: Digest,
    /// The name of the base: a hint as well.
    pub tensor: &'a str,
    /// The name of the tensor that needs it.
    pub needed_by: &'a str,
    /// The content digest of the base, by which it is known.
    pub digest: Digest,
    /// The depth of the version, which that of the base must be below.
    pub depth: u8,
    /// The version.
    pub(super) version: &'a TensorInfo,
    pub(super) predictor: Predictor,
}

impl WantedBase<'_> {
    /// Whether dtype and shape of a tensor are those of the base: others may have equal bytes.
    pub fn fits(&self, tensor: &TensorInfo) -> bool {
        is_alike(self.predictor, self.version, tensor)
    }
}

fn is_alike(predictor: Predictor, version: &TensorInfo, base: &TensorInfo) -> bool {
    match predictor {
        Predictor::Identity => version.is_like(base),
        predictor => {
            let dtypes = base.dtype().zip(version.dtype());
            let between = dtypes.and_then(|(base, new)| Predictor::between(base, new));
            between == Some(predictor) && version.shape() == base.shape()
        }
    }
}

/// A search for bases, among files or in a store.
pub trait FindBase: Send + Sync {
    /// Finds a file that has the tensor; `None` if there is none. One that is not below the depth
    /// is better than none: the error then names it.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and those of reading.
    fn find(&self, wanted: &WantedBase<'_>) -> Result<Option<FoundBase>>;

    /// Says where the search looks, for the error when it finds nothing.
    fn places(&self) -> String;
}

/// A base that was found. [`crate::Weights::base`] makes one.
#[derive(Clone)]
pub struct FoundBase {
    pub(super) file: Arc<dyn BaseFile>,
    /// The index of the tensor in data order.
    pub(super) tensor: usize,
    /// The name of the file, for errors.
    pub(super) label: Box<str>,
}

impl fmt::Debug for FoundBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundBase")
            .field("file", &self.label)
            .field("tensor", &self.tensor)
            .finish_non_exhaustive()
    }
}

/// A file that has bases.
pub(crate) trait BaseFile: Send + Sync {
    /// Returns the tensor with an index in data order.
    fn stored(&self, tensor: usize) -> Result<Stored<'_>>;
}

impl FoundBase {
    /// Returns the base, after checking that it is the one that a tensor needs.
    pub(super) fn check<'a>(
        &'a self,
        tensor: &Stored<'a>,
        base: &Base,
        digest: Digest,
    ) -> Result<Stored<'a>> {
        let (info, name) = (tensor.info, tensor.info.name());
        let found = self.file.stored(self.tensor).map_err(|error| Error::Base {
            tensor: name.into(),
            base: self.label.to_string(),
            error: Box::new(error),
        })?;
        let depth = found.entry.base.map_or(0, |(_, base)| base.depth);
        let problem = if found.entry.content_digest != digest {
            "it has other content".into()
        } else if !is_alike(base.predictor, info, found.info) {
            "its dtype or shape does not fit".into()
        } else if tensor.entry.is_same() && found.entry.digest != tensor.entry.digest {
            "its SHA-256 is another than the one on record".into()
        } else if depth >= base.depth {
            let (tensor, limit) = (name.into(), base.depth);
            return Err(Error::DeepBase { tensor, base: self.label.to_string(), depth, limit });
        } else {
            return Ok(Stored { via: Some(Via { tensor: name, base: &self.label }), ..found });
        };
        Err(Error::WrongBase { tensor: name.into(), base: self.label.to_string(), problem })
    }
}
