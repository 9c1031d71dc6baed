//! The files of a source: one file, or those under a directory, walked as packing walks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use at1w_container::Progress;
use at1w_container::repository::Contents;

use crate::error::{Error, Result};
use crate::name::check_path;

/// A file of a source.
#[derive(Debug)]
pub struct SourceFile {
    /// The path in the repository.
    pub path: String,
    /// The path on this machine.
    pub full: PathBuf,
    /// The length, in bytes.
    pub len: u64,
    modified: Option<SystemTime>,
}

impl SourceFile {
    pub(crate) fn new(path: String, full: PathBuf) -> Result<Self> {
        check_path(&path)?;
        let metadata = fs::metadata(&full).map_err(Error::io(&full))?;
        Ok(Self { path, full, len: metadata.len(), modified: metadata.modified().ok() })
    }

    /// Whether the name of the file says that it holds weights.
    pub fn says_weights(&self) -> bool {
        self.path.to_ascii_lowercase().ends_with(".safetensors")
    }

    /// Checks that nobody has written to the file since it was listed.
    ///
    /// # Errors
    /// [`at1w_container::Error::SourceChanged`] where somebody has; those of the file system.
    pub fn check(&self) -> Result<()> {
        let metadata = fs::metadata(&self.full).map_err(Error::io(&self.full))?;
        if (metadata.len(), metadata.modified().ok()) == (self.len, self.modified) {
            return Ok(());
        }
        let problem = "its size or time of change is another: push again";
        let error = at1w_container::Error::SourceChanged(problem.into());
        Err(error.in_file(&self.full).into())
    }
}

/// The files of a source.
#[derive(Debug)]
pub struct Source {
    /// Sorted by path. A file that links lead to is there by the names of these as well.
    pub files: Vec<SourceFile>,
    /// The paths of what Git or a hub cache keeps for itself.
    pub left_out: Vec<String>,
}

/// Lists the files of a source. What cannot be taken is an error: nothing is silently missing from
/// a commit.
///
/// # Errors
/// Those of reading the directory; for a path that is neither a file nor a directory.
pub fn walk(source: &Path, progress: &dyn Progress) -> Result<Source> {
    let metadata = fs::metadata(source).map_err(Error::io(source))?;
    if !metadata.is_dir() {
        let name = source.file_name().and_then(|name| name.to_str());
        let refused =
            |problem: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, problem);
        let name = name.ok_or_else(|| refused("its name is not valid UTF-8"));
        let name = name.map_err(Error::io(source))?;
        if !metadata.is_file() {
            return Err(Error::io(source)(refused("is neither a file nor a directory")));
        }
        let files = vec![SourceFile::new(name.into(), source.into())?];
        return Ok(Source { files, left_out: Vec::new() });
    }
    let Contents { files, left_out, errors, .. } = Contents::walk(source, progress)?;
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    let file =
        |file: at1w_container::repository::ContentFile| SourceFile::new(file.path, file.full);
    Ok(Source { files: files.into_iter().map(file).collect::<Result<_>>()?, left_out })
}
