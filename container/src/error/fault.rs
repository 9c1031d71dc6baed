//! The files of a repository that are missing, or are not what they should be.

use std::fmt;
use std::io;

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
    /// The file is a symbolic link to nothing. It was kept if it leads to a place in the
    /// repository.
    DanglingLink {
        /// The target of the link.
        target: String,
    },
    /// The file is a symbolic link that leads to itself, or to a directory that it lies in.
    LinkLoop,
    /// The file is a symbolic link to a directory, and too many such links were followed already.
    TooManyLinks {
        /// The number of links that were followed.
        followed: usize,
    },
    /// The file is a symbolic link that leads out of the directory, and is not followed here.
    LeadsOut,
    /// The file is a symbolic link that leads to the target.
    LeadsToTarget,
    /// The manifest of a packed repository lists the file, and would be wrong if it were replaced.
    Listed,
    /// The operating system refused to open or read the file.
    Unreadable(io::Error),
    /// The file is a pipe, a socket or a device.
    Special,
    /// The name of the file cannot be written down for every system.
    BadName(&'static str),
    /// The file was changed each time that it was read.
    Changed(String),
    /// The target does not tell the name of the file from that of another one.
    CaseClash {
        /// The path of the other file.
        other: String,
    },
    /// The file has names outside of the tree, which would keep the original.
    OtherNames {
        /// The number of those names.
        count: u64,
    },
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
            Self::DanglingLink { target } => write!(f, "is a symbolic link to nothing: {target}"),
            Self::LinkLoop => f.write_str("is a symbolic link that leads to itself or around it"),
            Self::TooManyLinks { followed } => {
                write!(f, "is a symbolic link too many: {followed} to directories were followed")
            }
            Self::LeadsOut => f.write_str("is a symbolic link that leads out, and is left"),
            Self::LeadsToTarget => f.write_str("is a symbolic link that leads to the target"),
            Self::Listed => {
                f.write_str("is listed by the manifest of a packed repository, and is left")
            }
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Special => f.write_str("is neither a file nor a directory"),
            Self::BadName(problem) => f.write_str(problem),
            Self::Changed(problem) => write!(f, "changes while it is read: {problem}"),
            Self::CaseClash { other } => {
                write!(f, "would take the place of {other}: the target does not tell their cases")
            }
            Self::OtherNames { count } => {
                write!(f, "has {count} other names (hard links), which would keep the original")
            }
            Self::UnnamedShard => f.write_str("is a shard that the index beside it does not name"),
            Self::More { count } => write!(f, "there are {count} more faults"),
        }
    }
}
