//! The error of this crate.

use thiserror::Error;

/// An error of a store: what is wrong, where, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The object store failed.
    #[error(transparent)]
    Remote(#[from] at1w_remote::Error),
    /// Packing, reading or verifying a file failed.
    #[error(transparent)]
    Container(#[from] at1w_container::Error),
    /// A name cannot be one of a namespace, a repository, a branch or a tag.
    #[error("{name:?} {problem}")]
    Name {
        /// The name.
        name: String,
        /// The problem with it.
        problem: String,
    },
    /// There is no store at the address.
    #[error("{0}: there is no store here: a push to an absent or empty place makes one")]
    NoStore(String),
    /// There is something at the address that is no store.
    #[error("{0}: is neither empty nor a store, and nothing is written there")]
    NotEmpty(String),
    /// The store, or an object of it, was written by a later version.
    #[error("{what} has version {found}, this at1w knows version {known}: a newer one is needed")]
    Version {
        /// The store or the object.
        what: String,
        /// Its version.
        found: u32,
        /// The version that this crate reads.
        known: u32,
    },
    /// There is no such repository.
    #[error("{repo}: there is no such repository{hint}")]
    NoRepo {
        /// The repository.
        repo: String,
        /// More about it.
        hint: String,
    },
    /// There is no such revision.
    #[error("{repo}: there is no branch, tag or commit {revision:?}")]
    NoRevision {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// There is no such file in a revision.
    #[error("{repo}: there is no file {path:?}")]
    NoFile {
        /// The repository and the revision.
        repo: String,
        /// The path.
        path: String,
    },
    /// Somebody else changed the same files meanwhile.
    #[error("{repo}: {branch} has moved from {parent}, and {what}: pull, and push again")]
    Conflict {
        /// The repository.
        repo: String,
        /// The branch.
        branch: String,
        /// The revision that the push was made for.
        parent: String,
        /// The files that are in the way.
        what: String,
    },
    /// The thing to make exists.
    #[error("{0} exists already")]
    Exists(String),
    /// There is no room for one more.
    #[error("{0}")]
    Full(String),
    /// An object of the store is not what it should be.
    #[error("damaged {what}: {problem}")]
    Damaged {
        /// The object.
        what: String,
        /// The problem with it.
        problem: String,
    },
    /// The log of a repository has a gap or a forged entry.
    #[error("the log of {repo} breaks at entry {seq}: {problem}")]
    Log {
        /// The repository.
        repo: String,
        /// The number of the entry.
        seq: u64,
        /// The problem with it.
        problem: String,
    },
    /// The store did not say whether an entry was written.
    #[error(
        "{repo}: the store did not answer whether the commit was made: look at the log: {cause}"
    )]
    Unknown {
        /// The repository.
        repo: String,
        /// The last answer.
        cause: String,
    },
    /// A file was packed elsewhere without a tensor that the store has lost since.
    #[error("the tensor {0} is not in the store any more: push again")]
    Outdated(String),
    /// A file that was packed elsewhere is not what it says.
    #[error("the packed file is not what it should be: {0}")]
    Outline(String),
    /// The process was held up for so long that the collector gave it up.
    #[error("{0}: the push was held up for too long, and nothing was committed: push again")]
    Expired(String),
    /// The grace of a collection is too short.
    #[error(
        "a grace of {grace} s is too short while {leases} pushes run: at least {least} s, or wait"
    )]
    Grace {
        /// The grace that was asked for, in seconds.
        grace: u64,
        /// The shortest one, in seconds.
        least: u64,
        /// The number of running pushes.
        leases: usize,
    },
    /// What is to be restored is being collected.
    #[error("{0}: is being collected, and cannot be restored any more")]
    Collected(String),
    /// A tree pins another root.
    #[error("{what}: the root is {actual}, expected {expected}: this is another revision")]
    Root {
        /// The revision.
        what: String,
        /// The root that the caller pinned.
        expected: String,
        /// The root that is there.
        actual: String,
    },
    /// The store fails a condition that sharing it needs.
    #[error("{0}")]
    Unfit(String),
    /// The operating system refused an operation on a file.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// The answer of the operating system.
        cause: std::io::Error,
    },
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether content is not what it should be: damaged, forged, or not the pinned one.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Log { .. } | Self::Root { .. } | Self::Outline(_) => true,
            Self::Container(error) => error.is_integrity(),
            _ => false,
        }
    }

    /// Whether a repository, a revision or a file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoRepo { .. } | Self::NoRevision { .. } | Self::NoFile { .. })
    }

    /// Whether stored bytes are not what they should be, or are lost.
    pub(crate) fn is_damage(&self) -> bool {
        self.is_integrity() || matches!(self, Self::Container(error) if is_damage(error))
    }

    pub(crate) fn damaged(what: impl Into<String>, problem: impl ToString) -> Self {
        Self::Damaged { what: what.into(), problem: problem.to_string() }
    }

    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |cause| Self::Io { path: path.display().to_string(), cause }
    }
}

/// Whether an error is about stored bytes, and not about reaching them. A store has the bases of
/// all that it stores.
pub(crate) fn is_damage(error: &at1w_container::Error) -> bool {
    use at1w_container::Error as Packing;
    match error.innermost() {
        Packing::Read { cause, .. } => is_loss(cause),
        Packing::NoBase(_) | Packing::DeepBase { .. } => true,
        error => error.is_integrity(),
    }
}

/// Whether an error says that bytes are lost: a bad network is no damage.
pub(crate) fn is_loss(error: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(EIO)
}
