//! The files of a repository that are missing, or are not what they should be.

use std::fmt;

use super::header::HeaderError;
use crate::kind::WrongKind;

/// A file of a repository that is missing, or is not what it should be.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fault {
    /// The path of the file in the repository before packing, with forward slashes.
    pub path: String,
    /// The problem with the file.
    pub problem: Problem,
}

/// A problem with a file of a repository.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The name of the file says weights, but its content is something else.
    WrongKind(WrongKind),
    /// The name of the file says safetensors, but its header is not valid.
    BadHeader(HeaderError),
    /// The name of the file says index of shards, but it cannot be read as one.
    BadIndex(String),
    /// The file is an index, and none of its shards is there.
    NoShards {
        /// The number of shards that it names.
        shards: usize,
    },
    /// The file is a shard that is not there.
    MissingShard {
        /// The index that names the shard.
        index: String,
        /// The number of tensors that the index maps to the shard.
        tensors: usize,
    },
    /// The file is a shard that lacks tensors.
    MissingTensors {
        /// The index that maps them to the shard.
        index: String,
        /// The first of them by name.
        first: String,
        /// The number of missing tensors.
        count: usize,
    },
    /// The name of the file says shard, but the index beside it does not name it.
    UnnamedShard,
    /// There are more faults than are listed.
    More {
        /// The number of faults that are not listed.
        count: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, problem } = self;
        write!(f, "{path}: {problem}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongKind(error) => write!(f, "{error}"),
            Self::BadHeader(error) => write!(f, "not a valid safetensors file: {error}"),
            Self::BadIndex(problem) => write!(f, "is not a valid index of shards: {problem}"),
            Self::NoShards { shards } => {
                write!(f, "names {shards} shards, none of which is there: incomplete download?")
            }
            Self::MissingShard { index, tensors } => {
                write!(f, "is missing: {index} maps {tensors} tensors to it")
            }
            Self::MissingTensors { index, first, count: 1 } => {
                write!(f, "lacks tensor {first:?}, which {index} maps to it")
            }
            Self::MissingTensors { index, first, count } => {
                write!(f, "lacks {count} tensors that {index} maps to it, {first:?} among them")
            }
            Self::UnnamedShard => f.write_str("is a shard that the index beside it does not name"),
            Self::More { count } => write!(f, "there are {count} more faults"),
        }
    }
}
