//! A journal of the files that are measured, so that an interrupted run goes on where it stopped.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use at1w_container::fs::write_atomically;
use at1w_container::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::result::FileResult;
use crate::source::SourceFile;

/// A journal: the settings of a run in the first line, and in each other line a file.
pub(crate) struct Journal {
    file: File,
    done: HashMap<String, Line>,
}

/// A file that was measured.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The time when the file was changed, in nanoseconds since 1970.
    modified: Option<u64>,
    result: FileResult,
}

impl Journal {
    /// Opens the journal at `path`. Takes the files over that an earlier run of the same `settings`
    /// measured, if `resume` says so, and begins a new journal otherwise. Fails where the earlier
    /// run had other settings: its work is not thrown away.
    pub(crate) fn open(path: &Path, settings: &str, resume: bool) -> Result<Self> {
        let io = |cause| Error::Io { path: path.to_owned(), cause };
        let earlier = match fs::read(path) {
            Ok(bytes) if resume => bytes,
            Err(error) if resume && error.kind() != io::ErrorKind::NotFound => {
                return Err(io(error));
            }
            _ => Vec::new(),
        };
        let mut lines = earlier.split(|&byte| byte == b'\n');
        let first = lines.next().unwrap_or_default();
        if !first.is_empty() && first != settings.as_bytes() {
            let other = "it is of a run with other options, or of another version";
            return Err(io(io::Error::new(io::ErrorKind::InvalidData, other)));
        }
        let mut done = HashMap::new();
        let mut kept = format!("{settings}\n").into_bytes();
        for text in lines {
            // The last line of a killed run may be cut off.
            let Ok(line) = serde_json::from_slice::<Line>(text) else { continue };
            kept.extend(text);
            kept.push(b'\n');
            done.insert(line.result.path.clone(), line);
        }
        write_atomically(path, true, |out| out.write_all(&kept).map_err(Error::Write))?;
        Ok(Self { file: OpenOptions::new().append(true).open(path).map_err(io)?, done })
    }

    /// Returns the results of a file that has not changed since it was measured.
    pub(crate) fn find(&mut self, file: &SourceFile) -> Option<FileResult> {
        let line = self.done.remove(&file.path)?;
        let same = line.result.raw_bytes == file.len
            && line.modified.is_some()
            && line.modified == modified(file);
        same.then_some(line.result)
    }

    /// Notes the results of a file.
    pub(crate) fn add(&mut self, file: &SourceFile, result: &FileResult) -> io::Result<()> {
        let line = Line { modified: modified(file), result: result.clone() };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }
}

/// Returns the path of the journal of a report.
pub fn journal_of(report: &Path) -> PathBuf {
    let mut name = report.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

fn modified(file: &SourceFile) -> Option<u64> {
    let time = file.place.modified()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}
