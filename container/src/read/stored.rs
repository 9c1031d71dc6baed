//! A tensor as an open file stores it: its header entry, its place in the source, and the way to
//! its base.

use std::ops::Range;

use at1w_codec::{Backend, Model};

use super::index::Entry;
use crate::digest::{Digest, State};
use crate::error::{Error, Result};
use crate::format::chunk_table::chunk_table_len;
use crate::format::chunking::Chunking;
use crate::format::features::FINE_BYTES;
use crate::format::tensor_info::TensorInfo;
use crate::source::{self, ReadAt};

/// The versions of a file, whose bases are in others.
pub(crate) trait Versions: Sync {
    /// Finds the base of a tensor, which has one.
    fn base<'a>(&'a self, tensor: &Stored<'a>) -> Result<Stored<'a>>;
}

/// The way to a base, for errors.
#[derive(Clone, Copy)]
pub(crate) struct Via<'a> {
    /// The tensor that it is the base of.
    pub(crate) tensor: &'a str,
    /// The name of the file that the base is in.
    pub(crate) base: &'a str,
}

/// A tensor as an open file stores it.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) source: &'a dyn ReadAt,
    pub(crate) info: &'a TensorInfo,
    pub(crate) entry: Entry<'a>,
    pub(crate) backend: Backend,
    /// The features that the file requires.
    pub(crate) features: u64,
    /// The chunk states of a tensor that is not packed.
    pub(crate) plain: Option<&'a [State]>,
    /// The search for the base, if the file has some.
    pub(crate) versions: Option<&'a dyn Versions>,
    /// For a base, the tensor that needs it.
    pub(crate) via: Option<Via<'a>>,
}

impl<'a> Stored<'a> {
    /// Finds the tensor that has the stored bytes: for one that is the same as its base, the base,
    /// or the base of that. The depths of bases fall, so this ends.
    pub(crate) fn resolve(mut self) -> Result<Self> {
        while self.entry.is_same() {
            self = self.base()?;
        }
        Ok(self)
    }

    /// Finds the base of a tensor, which has one.
    pub(crate) fn base(&self) -> Result<Self> {
        let versions = self.versions.expect("a file of which a tensor has a base");
        versions.base(self)
    }

    pub(crate) fn raw_len(&self) -> u64 {
        self.info.raw_len()
    }

    pub(crate) fn chunking(&self) -> Chunking {
        Chunking::of(self.info)
    }

    /// Returns the range of the file that the tensor takes.
    pub(crate) fn range(&self) -> Range<u64> {
        self.entry.start..self.entry.end
    }

    pub(crate) fn chunk_count(&self) -> u64 {
        self.chunking().count()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.entry.digest
    }

    /// Reads the model, and nothing else.
    pub(crate) fn read_model(&self) -> Result<Model> {
        if self.entry.is_same() {
            return Ok(Model::plain(self.info.coded_as().layout()));
        }
        let end = self.entry.end - chunk_table_len(self.chunk_count());
        let start = end - self.entry.model_len;
        self.parse_model(start, &source::read(self.source, start..end)?)
    }

    /// Parses the model, whose bytes are at `offset` in the file.
    pub(crate) fn parse_model(&self, offset: u64, bytes: &[u8]) -> Result<Model> {
        let model = Model::from_bytes(self.info.coded_as().layout(), bytes)
            .map_err(|e| self.damaged(None, offset, format!("its model: {e}")))?;
        if model.has_fine_bytes() && self.features & FINE_BYTES == 0 {
            let problem = "its model needs the feature fine-bytes, which the file does not name";
            return Err(self.damaged(None, offset, problem.into()));
        }
        if model.has_differences() && self.entry.base.is_none() {
            let problem = "its model is of differences, and it has no base";
            return Err(self.damaged(None, offset, problem.into()));
        }
        let elements = self.raw_len() / model.layout().width() as u64;
        // A few bytes can describe a long row. Only the tensor says how much memory it may take.
        if model.row_len() > elements.max(1) {
            let problem =
                format!("its model has rows of {} elements, it {elements}", model.row_len());
            return Err(self.damaged(None, offset, problem));
        }
        Ok(model)
    }

    pub(crate) fn damaged(&self, chunk: Option<u64>, offset: u64, problem: String) -> Error {
        self.located(Error::DamagedTensor { name: self.info.name().into(), chunk, offset, problem })
    }

    /// Adds to an error that it is about a base.
    pub(crate) fn located(&self, error: Error) -> Error {
        match self.via {
            Some(Via { tensor, base }) => {
                Error::Base { tensor: tensor.into(), base: base.into(), error: Box::new(error) }
            }
            None => error,
        }
    }
}
