//! The results of each file, which a journal keeps, so that an interrupted run goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fetch::Fetch;
use crate::kind::Kind;
use crate::source::SourceFile;

/// The results of one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileResult {
    /// The path, beginning with the one on the command line.
    pub path: String,
    /// The model that the file is of, or a part of.
    pub model: String,
    /// The repository that the file lies in.
    pub repository: String,
    /// The length, in bytes.
    pub raw_bytes: u64,
    /// The length of the header before packing, in bytes.
    pub header_bytes: u64,
    /// The results of each level, the one that is reported first.
    pub levels: Vec<LevelResult>,
    /// Other compressors over the same bytes.
    pub against: Vec<LevelResult>,
    /// What went wrong with those.
    pub problems: Vec<String>,
    /// The times that single tensors took, where they were measured.
    pub fetches: Vec<Fetch>,
    /// The tensors, by dtype and kind, at the level that is reported.
    pub groups: Vec<Group>,
    /// How often each exponent occurs, by dtype.
    pub exponents: BTreeMap<String, Vec<u64>>,
    /// The identity of each tensor, where all of it was read.
    pub tensors: Vec<TensorResult>,
}

impl FileResult {
    /// Makes the results of a file of which nothing is measured yet.
    pub(crate) fn new(file: &SourceFile) -> Self {
        Self {
            path: file.path.clone(),
            model: file.model.clone(),
            repository: file.repository.clone(),
            raw_bytes: file.len,
            header_bytes: 0,
            levels: Vec::new(),
            against: Vec::new(),
            problems: Vec::new(),
            fetches: Vec::new(),
            groups: Vec::new(),
            exponents: BTreeMap::new(),
            tensors: Vec::new(),
        }
    }

    /// Returns the dtype of the largest group of tensors; empty where there are none.
    pub(crate) fn main_dtype(&self) -> &str {
        let largest = self.groups.iter().max_by_key(|group| group.raw_bytes);
        largest.map_or("", |group| &group.dtype)
    }

    /// Returns the length after packing at the level that is reported, in bytes.
    pub fn packed_bytes(&self) -> u64 {
        self.levels.first().map_or(self.raw_bytes, |level| level.packed_bytes)
    }
}

/// The results of one level, or of another compressor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LevelResult {
    /// The name of the level or compressor.
    pub level: String,
    /// The length after packing, in bytes.
    pub packed_bytes: u64,
    /// The time that packing took, in seconds.
    pub pack_seconds: f64,
    /// The time that it took to read everything back, verify it and compare it, in seconds.
    pub read_seconds: f64,
}

/// Tensors of one dtype and kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// The dtype, as the header spells it.
    pub dtype: String,
    /// The kind.
    pub kind: Kind,
    /// The number of tensors.
    pub tensors: u64,
    /// The number of elements.
    pub elements: u64,
    /// The length of the tensors, in bytes.
    pub raw_bytes: u64,
    /// The length of what is stored of them, in bytes.
    pub packed_bytes: u64,
    /// The bytes that an ideal coder needs with one table for each plane of bytes of each tensor.
    pub bound_bytes: f64,
}

/// The identity of a tensor, by which a store keeps it once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TensorResult {
    /// The beginning of a SHA-256 over dtype, shape, and the SHA-256 of the bytes.
    pub identity: u128,
    /// The length, in bytes.
    pub raw_bytes: u64,
    /// The length of what is stored, in bytes; 0 for a tensor that an earlier one of the file
    /// equals.
    pub packed_bytes: u64,
}

impl Group {
    /// Adds the tensors of another group.
    pub(crate) fn add(&mut self, other: &Self) {
        self.tensors += other.tensors;
        self.elements += other.elements;
        self.raw_bytes += other.raw_bytes;
        self.packed_bytes += other.packed_bytes;
        self.bound_bytes += other.bound_bytes;
    }
}
