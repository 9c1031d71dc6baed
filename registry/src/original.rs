//! The bytes of an original file, in ranges.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;

use at1w_container::{Digest, Error as Packing, Progress, ReadAt, Reader};

use crate::content::hash;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::store::Store;
use crate::stored_file::StoredFile;
use crate::tree::File;

/// An original file, opened to be read in ranges.
#[derive(Debug)]
pub enum Original {
    /// It is rebuilt from what is packed; every chunk is verified.
    Packed(Box<Reader>),
    /// It is stored as it is: whoever reads all of it checks its SHA-256.
    Plain(PlainFile),
}

/// A file that is stored as it is.
pub struct PlainFile(pub(crate) Box<dyn ReadAt>);

impl fmt::Debug for PlainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainFile")
    }
}

impl Original {
    /// Makes the original of a file that is stored as it is.
    pub fn plain(source: Box<dyn ReadAt>) -> Self {
        Self::Plain(PlainFile(source))
    }

    pub(crate) fn open(store: &Store, namespace: &str, recipe: &Recipe) -> Result<Self> {
        if recipe.packed.is_some() {
            return Ok(Self::Packed(Box::new(store.reader(namespace, recipe)?)));
        }
        Ok(Self::plain(Box::new(StoredFile::open(&store.objects, namespace, recipe))))
    }

    /// Reads a range of the original.
    ///
    /// # Errors
    /// Those of reading; damage, for a packed file.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        match self {
            Self::Packed(reader) => Ok(reader.read_original(range)?),
            Self::Plain(PlainFile(file)) => {
                let offset = range.start;
                let bytes = file.read_at(range);
                let bytes = bytes.map_err(|cause| Packing::Read { offset, cause })?;
                Ok(bytes.into_owned())
            }
        }
    }

    /// Checks all of it against its SHA-256.
    pub(crate) fn verify(&self, sha256: Digest, progress: &dyn Progress) -> Result<()> {
        match self {
            Self::Packed(reader) => Ok(reader.verify_original(progress)?),
            Self::Plain(PlainFile(file)) => {
                let digest = hash(&**file, progress);
                match digest.map_err(|cause| Packing::Read { offset: 0, cause })? == sha256 {
                    true => Ok(()),
                    false => Err(Error::damaged(sha256.to_string(), "its SHA-256 does not match")),
                }
            }
        }
    }
}

impl ReadAt for Original {
    fn size(&self) -> io::Result<u64> {
        match self {
            Self::Packed(reader) => Ok(reader.info().original_len),
            Self::Plain(PlainFile(file)) => file.size(),
        }
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Packed(reader) => {
                reader.read_original(range).map(Cow::Owned).map_err(io::Error::other)
            }
            Self::Plain(PlainFile(file)) => file.read_at(range),
        }
    }

    fn request_cost(&self) -> u64 {
        match self {
            // Neighbours are merged below, where the packed bytes are read.
            Self::Packed(_) => 0,
            Self::Plain(PlainFile(file)) => file.request_cost(),
        }
    }
}

/// Returns an error about an original that was packed anew as the one that reading it gave.
pub(crate) fn of_original(error: Error) -> Error {
    match error {
        Error::Container(Packing::Read { offset, cause }) => match cause.downcast::<Packing>() {
            Ok(error) => error.into(),
            Err(cause) => Packing::Read { offset, cause }.into(),
        },
        error => error,
    }
}

impl Store {
    /// Opens the original of a file of a namespace.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the store.
    pub fn original(&self, namespace: &str, file: &File) -> Result<Original> {
        Original::open(self, namespace, &self.recipe(namespace, file)?)
    }
}
