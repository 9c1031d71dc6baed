//! Where the bytes of a file to measure lie.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use at1w_container::{Error, OpenOptions, Progress, ReadAt, Weights};
use tempfile::NamedTempFile;

/// The number of bytes that are copied at a time.
const PIECE: u64 = 8 << 20;

/// Where the bytes of a file lie.
#[derive(Clone)]
pub(crate) enum Place {
    /// On this machine.
    Here(PathBuf),
    /// In a store or behind an address, with the name for messages.
    Away(PathBuf, Arc<dyn ReadAt>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Here(path) | Self::Away(path, _)) = self;
        write!(f, "{}", path.display())
    }
}

/// A file on this machine: itself, or a copy, which is gone when this is dropped.
pub(crate) enum Local<'a> {
    File(&'a Path),
    Copy(NamedTempFile),
}

impl Local<'_> {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Copy(copy) => copy.path(),
        }
    }
}

impl Place {
    /// Opens the bytes.
    pub(crate) fn open(&self) -> Result<Box<dyn ReadAt>, Error> {
        match self {
            Self::Here(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(cause) => Err(Error::Io { path: path.clone(), cause }),
            },
            Self::Away(_, source) => Ok(Box::new(source.clone())),
        }
    }

    /// Opens the weights.
    pub(crate) fn weights(&self) -> Result<Weights, Error> {
        match self {
            Self::Here(path) => Weights::open(path, &OpenOptions::new()),
            Self::Away(name, source) => {
                let weights = Weights::new(Box::new(source.clone()), &OpenOptions::new());
                weights.map_err(|error| error.in_file(name))
            }
        }
    }

    /// Returns a file with these bytes; copies them into `scratch` where they lie elsewhere.
    pub(crate) fn local(
        &self,
        scratch: &Path,
        progress: &dyn Progress,
    ) -> Result<Local<'_>, Error> {
        let (name, source) = match self {
            Self::Here(path) => return Ok(Local::File(path)),
            Self::Away(name, source) => (name, source),
        };
        let read = |cause| Error::Io { path: name.clone(), cause };
        let mut copy = NamedTempFile::new_in(scratch).map_err(Error::Write)?;
        let (mut at, len) = (0, source.size().map_err(read)?);
        while at < len {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let to = len.min(at + PIECE);
            copy.write_all(&source.read_at(at..to).map_err(read)?).map_err(Error::Write)?;
            at = to;
        }
        Ok(Local::Copy(copy))
    }

    /// Returns the time when the file was changed, where that is known.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        match self {
            Self::Here(path) => path.metadata().ok()?.modified().ok(),
            Self::Away(..) => None,
        }
    }
}
