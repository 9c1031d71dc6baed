//! Everything that can go wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

use at1w_codec::BackendError;
use thiserror::Error;

use crate::kind::{FileKind, Wanted};
use crate::repository::Fault;

/// What is wrong, where, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Reading from a source failed.
    #[error("reading at offset {offset}: {source}")]
    Read {
        /// Where in the source, in bytes.
        offset: u64,
        /// What it said.
        source: io::Error,
    },
    /// Writing the output failed.
    #[error("writing the output: {0}")]
    Write(io::Error),
    /// A failure within one file of several.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What went wrong with it.
        source: Box<Error>,
    },
    /// The source is no valid safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Safetensors(#[from] HeaderError),
    /// The source of a packing is packed already.
    #[error("is packed already")]
    AlreadyPacked,
    /// The target exists.
    #[error("{} exists already: --force replaces it", .0.display())]
    Exists(PathBuf),
    /// The source changed while it was read.
    #[error("the source changed while it was read: {0}")]
    SourceChanged(String),
    /// A chunk that was encoded does not decode to what it was.
    #[error(
        "chunk {chunk} of tensor {name:?} does not decode to what it was, and was not kept: this is \
         a fault of the machine, or one of at1w that should be reported"
    )]
    Encoded {
        /// The tensor.
        name: String,
        /// The chunk.
        chunk: u64,
    },
    /// The file is recognised as something else than what was wanted.
    #[error("{found}, not {wanted}: {}", found.advice())]
    WrongKind {
        /// What the file is.
        found: FileKind,
        /// What it had to be.
        wanted: Wanted,
    },
    /// The file is no `.at1w` file, and is not recognised as anything else.
    #[error("not an .at1w file: it does not begin as one")]
    NotAt1w,
    /// A root was pinned for a safetensors file, which has none.
    #[error("a safetensors file has no root: pack it, or pin the SHA-256 of the file")]
    NoRoot,
    /// The file is of a version that this reader does not know.
    #[error("format version {0} is not supported: this reader knows version {known}", known = crate::VERSION)]
    Version(u32),
    /// The file needs features that this reader does not know.
    #[error(
        "the file needs features that this reader does not have (bits {0:#x}): a newer at1w is needed"
    )]
    Features(u64),
    /// `AT1W_SIMD` asks for what this machine has not.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Some part of the file outside of the tensors is damaged.
    #[error("damaged {section} at offset {offset}: {problem}")]
    Damaged {
        /// Which part.
        section: &'static str,
        /// Its offset in the file, in bytes.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor, or one of its chunks, is damaged.
    #[error("damaged tensor {name:?}{at} at offset {offset}: {problem}", at = chunk_suffix(*chunk))]
    DamagedTensor {
        /// The tensor.
        name: String,
        /// The chunk, if it is one chunk's payload that is damaged.
        chunk: Option<u64>,
        /// Where the damaged part starts in the file, in bytes.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is intact, but not the one that was asked for.
    #[error("the root is {actual}, expected {expected}: this is another model or revision")]
    Root {
        /// The root that the caller pinned.
        expected: String,
        /// The root of the file.
        actual: String,
    },
    /// The tensor is intact, but not the one that was asked for.
    #[error(
        "tensor {name:?} has SHA-256 {actual}, expected {expected}: this is another model or revision"
    )]
    OtherTensor {
        /// The tensor.
        name: String,
        /// The digest that the caller pinned.
        expected: String,
        /// The digest of the tensor.
        actual: String,
    },
    /// The restored bytes have not the digest of the original file.
    #[error("the restored file has SHA-256 {actual}, the original had {expected}")]
    Original {
        /// The digest on record.
        expected: String,
        /// The digest of what was restored.
        actual: String,
    },
    /// There is no such tensor.
    #[error("no tensor {name:?}{}", suggestion(near))]
    NoTensor {
        /// What was asked for.
        name: String,
        /// Names much like it.
        near: Vec<String>,
    },
    /// A slice that does not fit the tensor.
    #[error("slice of tensor {name:?} with shape {shape:?}: {problem}")]
    Slice {
        /// The tensor.
        name: String,
        /// Its shape, in elements.
        shape: Vec<u64>,
        /// What is wrong with the slice.
        problem: String,
    },
    /// A byte range beyond the end.
    #[error("bytes {start}..{end} are not within the {len} bytes of the original file")]
    Range {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// Bytes of the original file.
        len: u64,
    },
    /// A buffer has not the size of what is to be read into it.
    #[error("the buffer has {len} bytes, {needed} are read")]
    Buffer {
        /// Bytes of the buffer.
        len: usize,
        /// Bytes that are read.
        needed: u64,
    },
    /// A size above the caller's limit.
    #[error(
        "{what} of {size} bytes is above the limit of {limit}: raise it in Limits if you trust the file"
    )]
    Limit {
        /// What is too large.
        what: String,
        /// Its size, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// There is not so much memory.
    #[error("{what} of {size} bytes does not fit in memory: read it in slices")]
    Memory {
        /// What is too large.
        what: String,
        /// Its size, in bytes.
        size: u64,
    },
    /// The operating system starts no threads.
    #[error(
        "no thread could be started: {0}: raise the limit of threads or of memory, or lower \
         RAYON_NUM_THREADS, and start the process again"
    )]
    Threads(String),
    /// Source and target are one file.
    #[error("{} is the source itself, which would be lost: choose another target", .0.display())]
    SameFile(PathBuf),
    /// There is no folder for the target.
    #[error("{}: there is no such folder: make it first", .0.display())]
    NoFolder(PathBuf),
    /// The target is no file that could be replaced.
    #[error("{} is no regular file, and is not replaced", .0.display())]
    NotAFile(PathBuf),
    /// The manifest of a packed repository is damaged, or disagrees with the files beside it.
    #[error("{0}")]
    Manifest(String),
    /// A repository lacks files, or has some that are not what they should be.
    #[error("the repository is not whole: {}", faults_line(.0))]
    Incomplete(Vec<Fault>),
    /// The file is intact, but not the one that was asked for.
    #[error("the safetensors file has SHA-256 {actual}, expected {expected}: this is another file")]
    OtherFile {
        /// The digest that the caller pinned.
        expected: String,
        /// The digest of the file.
        actual: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// Why a safetensors header is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Less than the 8 bytes of the header length.
    #[error("the file has {0} bytes, too few for a header")]
    TooShort(u64),
    /// A header of more than 100 MB, the limit of safetensors.
    #[error("the header length is {0} bytes, safetensors allows 100,000,000")]
    TooLarge(u64),
    /// The header reaches beyond the end of the file.
    #[error(
        "the file is cut short: its header alone has {header} bytes, the file {file}; a download may \
         not have finished: fetch it again"
    )]
    Truncated {
        /// Bytes of the header.
        header: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// The header is not the JSON it should be.
    #[error("the header is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// Two tensors of one name.
    #[error("two tensors have the name {0:?}")]
    Duplicate(String),
    /// A tensor does not begin where the one before it ended, or ends before it begins.
    #[error(
        "tensor {name:?} has data offsets {start}..{end}, it must begin at {expected}: offsets overlap or leave a gap"
    )]
    Offsets {
        /// The tensor.
        name: String,
        /// Its first byte.
        start: u64,
        /// One past its last byte.
        end: u64,
        /// Where it had to begin.
        expected: u64,
    },
    /// The number of bytes overflows.
    #[error("tensor {name:?} has a shape whose size overflows: {shape:?}")]
    Overflow {
        /// The tensor.
        name: String,
        /// Its shape, in elements; no more than the first 16 dimensions.
        shape: Vec<u64>,
    },
    /// Shape and dtype say another size than the data offsets.
    #[error("tensor {name:?} has {len} bytes, its dtype and shape need {needed}")]
    Size {
        /// The tensor.
        name: String,
        /// Bytes by its offsets.
        len: u64,
        /// Bytes by shape and dtype, in eighths where they are no whole number.
        needed: String,
    },
    /// The file ends before the tensors do.
    #[error(
        "the file is cut short: it has {file} bytes of {tensors}; a download may not have finished: \
         fetch it again"
    )]
    CutShort {
        /// Where the last tensor ends.
        tensors: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// The file goes on after the last tensor.
    #[error(
        "{} bytes follow the last tensor, which ends at byte {tensors}: something was appended to \
         the file, or its header is of another file",
        file - tensors
    )]
    Trailing {
        /// Where the last tensor ends.
        tensors: u64,
        /// Bytes of the file.
        file: u64,
    },
}

impl Error {
    /// Says which file the error is about.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            // These name a path themselves.
            Self::Io { .. }
            | Self::InFile { .. }
            | Self::Exists(_)
            | Self::SameFile(_)
            | Self::NotAFile(_)
            | Self::NoFolder(_)
            | Self::Cancelled => self,
            source => Self::InFile { path: path.into(), source: Box::new(source) },
        }
    }

    /// Drops the file that the error is about, for a caller who names it himself.
    pub(crate) fn without_file(self) -> Self {
        match self {
            Self::InFile { source, .. } => source.without_file(),
            other => other,
        }
    }

    /// The error without the file it happened in.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::InFile { source, .. } => source.innermost(),
            other => other,
        }
    }

    /// Whether the content is not what it should be: damaged, truncated, or not the one pinned.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self.innermost(),
            Self::WrongKind { wanted: Wanted::At1w, .. }
                | Self::NotAt1w
                | Self::NoRoot
                | Self::Damaged { .. }
                | Self::DamagedTensor { .. }
                | Self::Root { .. }
                | Self::OtherTensor { .. }
                | Self::Original { .. }
                | Self::OtherFile { .. }
                | Self::Manifest(_)
        )
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}

fn chunk_suffix(chunk: Option<u64>) -> String {
    chunk.map(|c| format!(" in chunk {c}")).unwrap_or_default()
}

/// The first faults, and how many others there are.
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

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
