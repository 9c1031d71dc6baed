//! A tensor as an open file stores it: its header entry and its place in the source.

use std::ops::Range;

use at1w_codec::{Backend, Model};

use super::index::Entry;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::chunk_table::chunk_table_len;
use crate::format::chunking::Chunking;
use crate::format::features::FINE_BYTES;
use crate::format::tensor_info::TensorInfo;
use crate::source::{self, ReadAt};

/// A tensor as an open file stores it.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) source: &'a dyn ReadAt,
    pub(crate) info: &'a TensorInfo,
    pub(crate) entry: Entry<'a>,
    pub(crate) backend: Backend,
    /// The features that the file requires.
    pub(crate) features: u64,
}

impl Stored<'_> {
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
        self.entry.digest()
    }

    /// Reads the model, and nothing else.
    pub(crate) fn read_model(&self) -> Result<Model> {
        let end = self.entry.end - chunk_table_len(self.chunk_count());
        let start = end - self.entry.model_len();
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
        Error::DamagedTensor { name: self.info.name().into(), chunk, offset, problem }
    }
}
