//! The error of this crate. Its parts have files of their own: [`header`] for safetensors headers,
//! [`fault`] for repositories.
//!
//! A message shows its whole cause, and `source` returns none, so that no reporter prints a cause
//! twice. What to do at a command line or in Python is said there, not here.

pub(crate) mod base;
pub(crate) mod fault;
pub(crate) mod header;

use std::io;
use std::path::{Path, PathBuf};

use at1w_codec::BackendError;
use thiserror::Error;

use self::base::MissingBase;
use self::fault::Fault;
use self::header::HeaderError;
use crate::digest::Digest;
use crate::format::features;
use crate::kind::{FileKind, Wanted, WrongKind};

/// An error: what is wrong, where, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The answer of the operating system.
        cause: io::Error,
    },
    /// Reading from a source failed.
    #[error("reading at offset {offset}: {cause}")]
    Read {
        /// The offset in the source, in bytes.
        offset: u64,
        /// The answer of the source.
        cause: io::Error,
    },
    /// Writing the output failed.
    #[error("writing the output: {0}")]
    Write(io::Error),
    /// An error in one file of several.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The error.
        error: Box<Error>,
    },
    /// The source is not a valid safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Safetensors(HeaderError),
    /// The source of a packing is packed already.
    #[error("is packed already")]
    AlreadyPacked,
    /// The target exists.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The source changed while it was read.
    #[error("the source changed while it was read: {0}")]
    SourceChanged(String),
    /// An encoded chunk did not decode to its bytes.
    #[error(
        "chunk {chunk} of tensor {name:?} does not decode to what it was, and was not kept: this \
         is a fault of the machine, or one of at1w that should be reported"
    )]
    Encoded {
        /// The tensor.
        name: String,
        /// The index of the chunk.
        chunk: u64,
    },
    /// The file is recognised as another kind of file than the one that was wanted.
    #[error(transparent)]
    WrongKind(WrongKind),
    /// The file is not an `.at1w` file, and is not recognised as anything else.
    #[error("not an .at1w file: it does not begin as one")]
    NotAt1w,
    /// The bytes are no proof.
    #[error("not a proof: it does not begin as one")]
    NotAProof,
    /// A root was pinned for a safetensors file, which has none.
    #[error("a safetensors file has no root: pack it, or pin the SHA-256 of the file")]
    NoRoot,
    /// The file has a version that this reader does not know.
    #[error("format version {found} is not supported: this reader knows version {known}")]
    Version {
        /// The version of the file.
        found: u32,
        /// The version that this reader knows.
        known: u32,
    },
    /// The file needs features that this reader does not know.
    #[error(
        "the file needs features that this reader does not have ({}): a newer at1w is needed",
        features::names(*.0)
    )]
    Features(u64),
    /// `AT1W_SIMD` names a back-end that this machine does not have.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A part of the file outside of the tensors is damaged.
    #[error("damaged {section} at offset {offset}: {problem}")]
    Damaged {
        /// The name of the part.
        section: &'static str,
        /// Its offset in the file, in bytes.
        offset: u64,
        /// The problem with it.
        problem: String,
    },
    /// A tensor or one of its chunks is damaged.
    #[error("damaged tensor {name:?}{at} at offset {offset}: {problem}", at = chunk_suffix(*chunk))]
    DamagedTensor {
        /// The tensor.
        name: String,
        /// The index of the chunk, where the payload of one chunk is damaged.
        chunk: Option<u64>,
        /// The offset of the damaged part in the file, in bytes.
        offset: u64,
        /// The problem with it.
        problem: String,
    },
    /// A tensor is a version of one in a file that was not found.
    #[error("{0}")]
    NoBase(Box<MissingBase>),
    /// A tensor is a version of one in another file, which a proof has no room for.
    #[error(
        "tensor {0:?} is a version of one in another file: a proof is of a tensor that stands alone"
    )]
    NotAlone(String),
    /// The base of a tensor cannot be read.
    #[error("tensor {tensor:?} is a version of one in {base}: {error}")]
    Base {
        /// The tensor.
        tensor: String,
        /// The file of the base.
        base: String,
        /// The problem with it.
        error: Box<Error>,
    },
    /// A tensor that was found as a base is not the right one.
    #[error("tensor {tensor:?} is no version of the one in {base}: {problem}")]
    WrongBase {
        /// The tensor.
        tensor: String,
        /// The file of the base.
        base: String,
        /// The difference between the two.
        problem: String,
    },
    /// The base of a tensor was packed anew since, as a version that is too deep itself.
    #[error(
        "tensor {tensor:?} is a version of one in {base}, which is {depth} versions away from a \
         file that stands alone, where less than {limit} are allowed: pack one of the two anew, to \
         stand alone or on a base that is less deep"
    )]
    DeepBase {
        /// The tensor.
        tensor: String,
        /// The file of the base.
        base: String,
        /// The depth of the base.
        depth: u8,
        /// The depth that it must be below.
        limit: u8,
    },
    /// There are more files of bases than a file can name.
    #[error("{0} files of bases are too many: a file has at most 255")]
    ManyBases(usize),
    /// A base has as many bases itself as are allowed.
    #[error(
        "{} is {depth} versions away from a file that stands alone, and {limit} are allowed",
        .base.display()
    )]
    BaseDepth {
        /// The file of the base.
        base: PathBuf,
        /// The depth that a version of it would have.
        depth: u8,
        /// The most that is allowed.
        limit: u8,
    },
    /// The file is intact, but has another root than the pinned one.
    #[error("the root is {actual}, expected {expected}: this is another model or revision")]
    Root {
        /// The root that the caller pinned.
        expected: Digest,
        /// The root of the file.
        actual: Digest,
    },
    /// The tensor is intact, but has another digest than the pinned one.
    #[error(
        "tensor {name:?} has SHA-256 {actual}, expected {expected}: this is another model or \
         revision"
    )]
    OtherTensor {
        /// The tensor.
        name: String,
        /// The digest that the caller pinned.
        expected: Digest,
        /// The digest of the tensor.
        actual: Digest,
    },
    /// The restored file does not have the digest of the original one.
    #[error("the restored file has SHA-256 {actual}, the original had {expected}")]
    Original {
        /// The digest on record.
        expected: Digest,
        /// The digest of the restored file.
        actual: Digest,
    },
    /// There is no tensor of that name.
    #[error("no tensor {name:?}{}", suggestion(near))]
    NoTensor {
        /// The name that was asked for.
        name: String,
        /// The names most like it.
        near: Vec<String>,
    },
    /// A slice does not fit the tensor.
    #[error("slice of tensor {name:?} with shape {shape:?}: {problem}")]
    Slice {
        /// The tensor.
        name: String,
        /// Its shape, in elements.
        shape: Vec<u64>,
        /// The problem with the slice.
        problem: String,
    },
    /// A byte range reaches beyond the end of the original file.
    #[error("bytes {start}..{end} are not within the {len} bytes of the original file")]
    Range {
        /// The first byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The length of the original file, in bytes.
        len: u64,
    },
    /// A buffer does not have the size of the tensor or slice.
    #[error("the buffer has {len} bytes, {needed} are read")]
    Buffer {
        /// The length of the buffer, in bytes.
        len: usize,
        /// The number of bytes to read.
        needed: u64,
    },
    /// A size is above the limit of the caller ([`crate::Limits`]).
    #[error(
        "{what} of {size} bytes is above the limit of {limit} bytes: a file that you trust can be \
         opened with a higher limit"
    )]
    Limit {
        /// The thing that is too large.
        what: String,
        /// Its size, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// There is not enough memory.
    #[error("{what} of {size} bytes does not fit in memory: read it in slices")]
    Memory {
        /// The thing that is too large.
        what: String,
        /// Its size, in bytes.
        size: u64,
    },
    /// The operating system refused to start threads.
    #[error(
        "no thread could be started: {0}: raise the limit of threads or of memory, or lower \
         RAYON_NUM_THREADS, and start the process again"
    )]
    Threads(String),
    /// Source and target are the same file.
    #[error("{} is the source itself, which would be lost: choose another target", .0.display())]
    SameFile(PathBuf),
    /// The target has the bases of the base that was named.
    #[error(
        "{} has bases of {}, which could not be read without them: choose another target",
        target.display(),
        base.display()
    )]
    BaseOfBase {
        /// The target, which would be replaced.
        target: PathBuf,
        /// The base.
        base: PathBuf,
    },
    /// The folder for the target does not exist.
    #[error("{}: there is no such folder: make it first", .0.display())]
    NoFolder(PathBuf),
    /// The target is not a regular file, and is never replaced.
    #[error("{} is no regular file, and is not replaced", .0.display())]
    NotAFile(PathBuf),
    /// The manifest of a packed repository is damaged, or disagrees with the files beside it.
    #[error("{0}")]
    Manifest(String),
    /// A repository lacks files, or has files that are not what they should be.
    #[error("the repository is not whole: {}", faults_line(.0))]
    Incomplete(Vec<Fault>),
    /// A pattern for the names of files is not valid.
    #[error("{0}")]
    Pattern(String),
    /// Another process writes to the target.
    #[error("{}: another process is writing to it", .0.display())]
    Busy(PathBuf),
    /// There is nothing at the source any more, and pruning would leave nothing at the target.
    #[error(
        "{}: is empty, and pruning would remove everything from the target: is it mounted?",
        .0.display()
    )]
    NothingLeft(PathBuf),
    /// The safetensors file has another digest than the pinned one.
    #[error("the safetensors file has SHA-256 {actual}, expected {expected}: this is another file")]
    OtherFile {
        /// The digest that the caller pinned.
        expected: Digest,
        /// The digest of the file.
        actual: Digest,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Adds the file that the error is about, unless the error names a path itself.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Io { .. }
            | Self::InFile { .. }
            | Self::Exists(_)
            | Self::SameFile(_)
            | Self::BaseOfBase { .. }
            | Self::NotAFile(_)
            | Self::NoFolder(_)
            | Self::Busy(_)
            | Self::NothingLeft(_)
            | Self::BaseDepth { .. }
            | Self::Cancelled => self,
            error => Self::InFile { path: path.into(), error: Box::new(error) },
        }
    }

    /// Removes the file that the error is about, for a caller who names the file himself.
    pub(crate) fn without_file(self) -> Self {
        match self {
            Self::InFile { error, .. } => error.without_file(),
            other => other,
        }
    }

    /// Returns the error without the file that it is about.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::InFile { error, .. } | Self::Base { error, .. } => error.innermost(),
            other => other,
        }
    }

    /// Whether the content is not what it should be: damaged, truncated, or not the pinned one.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self.innermost(),
            Self::WrongKind(WrongKind { wanted: Wanted::At1w, .. })
                | Self::NotAt1w
                | Self::NotAProof
                | Self::NoRoot
                | Self::Damaged { .. }
                | Self::DamagedTensor { .. }
                | Self::Root { .. }
                | Self::OtherTensor { .. }
                | Self::Original { .. }
                | Self::OtherFile { .. }
                | Self::WrongBase { .. }
                | Self::Manifest(_)
        )
    }

    /// Whether the fault is that of a base, and not of the file that was read.
    pub fn is_of_base(&self) -> bool {
        match self {
            Self::InFile { error, .. } => error.is_of_base(),
            Self::Base { .. } | Self::WrongBase { .. } => true,
            _ => false,
        }
    }

    /// Returns a conversion for errors of the operating system about the file at `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |cause| Self::Io { path: path.into(), cause }
    }

    /// Makes the error for a file of another kind than the wanted one.
    pub fn wrong_kind(found: FileKind, wanted: Wanted) -> Self {
        Self::WrongKind(WrongKind { found, wanted })
    }
}

// Not derived: the message shows the cause, so `source` must not return it again.
impl From<HeaderError> for Error {
    fn from(error: HeaderError) -> Self {
        Self::Safetensors(error)
    }
}

fn chunk_suffix(chunk: Option<u64>) -> String {
    chunk.map(|c| format!(" in chunk {c}")).unwrap_or_default()
}

/// Lists the first faults and says how many others there are.
fn faults_line(faults: &[Fault]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = faults.iter().take(SHOWN).map(Fault::to_string).collect();
    let more = match faults.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    shown.join("; ") + &more
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(
            ": did you mean {}?",
            near.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(" or ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn no_cause_is_shown_twice() {
        let cause = || io::Error::other("the cause");
        let json = || serde_json::from_str::<u8>("the cause").unwrap_err();
        let path = Path::new("file");
        for error in [
            Error::io(path)(cause()),
            Error::Read { offset: 7, cause: cause() },
            Error::Write(cause()),
            Error::Write(cause()).in_file(path),
            Error::Safetensors(json().into()),
            Error::wrong_kind(FileKind::Text { text: "the cause".into() }, Wanted::At1w),
        ] {
            assert!(error.source().is_none(), "{error}");
            assert!(!error.to_string().is_empty());
        }
        let shown = Error::Write(cause()).in_file(path).to_string();
        assert_eq!(shown, "file: writing the output: the cause");
    }
}
