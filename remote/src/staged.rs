//! A file of a store in a directory while it is written: what is written goes to the file at once.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that appears under its name when it is complete, synced to disk. One that is dropped
/// before leaves nothing.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    /// Its name until then: `#` and a number after the other one, as `object_store` names its own.
    staged: PathBuf,
    file: File,
    finished: bool,
}

impl Staged {
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        make_folders(&path)?;
        let mut number = 1;
        loop {
            let mut staged = path.clone().into_os_string();
            staged.push(format!("#{number}"));
            match File::create_new(&staged) {
                Ok(file) => {
                    return Ok(Self { path, staged: staged.into(), file, finished: false });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.staged, &self.path)?;
        self.finished = true;
        self.path.parent().map_or(Ok(()), sync_folder)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what is left is swept later.
            let _ = fs::remove_file(&self.staged);
        }
    }
}

/// Makes the folders that a file lies in, synced to disk.
fn make_folders(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().skip(1).take_while(|folder| !folder.is_dir()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    fs::create_dir_all(first)?;
    missing.iter().filter_map(|folder| folder.parent()).try_for_each(sync_folder)
}

/// Syncs the names in a folder to disk, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
