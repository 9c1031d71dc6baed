//! The files of a source: one file, or those under a directory. Symbolic links are followed.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walkdir::WalkDir;

use crate::error::{Error, Result};
use crate::name::check_path;

/// How the names of files end that are being written.
const TEMPORARY: &str = ".at1w-tmp";

/// A file of a source.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// The path in the repository.
    pub(crate) path: String,
    pub(crate) full: PathBuf,
    pub(crate) len: u64,
    modified: Option<SystemTime>,
}

impl SourceFile {
    pub(crate) fn new(path: String, full: PathBuf, metadata: &Metadata) -> Result<Self> {
        check_path(&path)?;
        Ok(Self { path, full, len: metadata.len(), modified: metadata.modified().ok() })
    }

    /// Checks that nobody has written to the file since it was listed.
    pub(crate) fn check(&self) -> Result<()> {
        let metadata = fs::metadata(&self.full).map_err(Error::io(&self.full))?;
        if (metadata.len(), metadata.modified().ok()) == (self.len, self.modified) {
            return Ok(());
        }
        let problem = "its size or time of change is another: push again";
        let error = at1w_container::Error::SourceChanged(problem.into());
        Err(error.in_file(&self.full).into())
    }
}

/// Lists the files of a source, sorted by path. The folder `.git` is left out.
pub(crate) fn walk(source: &Path) -> Result<Vec<SourceFile>> {
    let metadata = fs::metadata(source).map_err(Error::io(source))?;
    let refused = |path: &Path, problem: &str| {
        Error::io(path)(std::io::Error::new(std::io::ErrorKind::InvalidInput, problem))
    };
    if metadata.is_file() {
        let name = source.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| refused(source, "its name is not valid UTF-8"))?;
        return Ok(vec![SourceFile::new(name.into(), source.into(), &metadata)?]);
    }
    let mut files = Vec::new();
    let entries = WalkDir::new(source).follow_links(true).min_depth(1).into_iter();
    for entry in entries.filter_entry(|entry| {
        let git = entry.depth() == 1 && entry.file_name() == ".git";
        !git && !entry.file_name().to_string_lossy().ends_with(TEMPORARY)
    }) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(source).to_owned();
            let cause = error.into_io_error();
            cause.map_or_else(|| refused(&path, "is a link in a circle"), Error::io(&path))
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let full = entry.path().to_owned();
        if !entry.file_type().is_file() {
            return Err(refused(&full, "is neither a file nor a directory"));
        }
        let parts = full.strip_prefix(source).unwrap_or(&full).components();
        let parts: Option<Vec<_>> = parts.map(|part| part.as_os_str().to_str()).collect();
        let path = parts.ok_or_else(|| refused(&full, "its name is not valid UTF-8"))?.join("/");
        let metadata = entry.metadata().map_err(|error| {
            error
                .into_io_error()
                .map_or_else(|| refused(&full, "is not readable"), Error::io(&full))
        })?;
        files.push(SourceFile::new(path, full, &metadata)?);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
