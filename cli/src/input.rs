//! Files that commands read: of a path, of an address, or standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use at1w_container::{Error, Folders, OpenOptions, Reader, Weights};
use at1w_remote::{Cache, OpenError, UrlOptions, is_remote, open_weights};

use crate::failure::{Failure, Result, report_note};
use crate::signals;

/// The name of standard input in messages.
const STDIN: &str = "standard input";

/// Whether a path on the command line names standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Returns how a path is shown in messages.
pub(crate) fn shown(path: &Path) -> &Path {
    if is_stdin(path) { Path::new(STDIN) } else { path }
}

/// Returns the address that stands in the place of a path on the command line.
pub(crate) fn address(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| is_remote(text))
}

/// Whether what is read is no file on this machine, whose permissions could be kept.
pub(crate) fn has_no_path(path: &Path) -> bool {
    is_stdin(path) || address(path).is_some()
}

/// The directories that the command line names.
static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Sets the directories in which bases are looked for, beside those of the files.
pub(crate) fn look_in(folders: &[PathBuf]) {
    FOLDERS.get_or_init(|| folders.to_vec());
}

/// Returns where the bases of a file are looked for: the directories that the command line names,
/// its own, and those of the environment.
pub(crate) fn folders(path: &Path) -> Folders {
    let own = (!has_no_path(path)).then(|| path.parent().unwrap_or(Path::new("")).to_owned());
    let named = FOLDERS.get().into_iter().flatten().cloned();
    Folders::new(named.chain(own).chain(Folders::listed()), OpenOptions::new())
}

/// Checks that nobody wishes to choose among the files of what is one file.
pub(crate) fn check_no_patterns(path: &Path, include: &[String], exclude: &[String]) -> Result<()> {
    if include.is_empty() && exclude.is_empty() {
        return Ok(());
    }
    let path = shown(path).display();
    let problem = "is one file: --include and --exclude choose the files of a directory";
    Err(Failure::Usage(format!("{path} {problem}")))
}

/// What is done with the copy of a remote file in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    /// It is not looked for: what the server has is asked for.
    Ignored,
    /// It is read where there is one.
    Read,
    /// The same, and one is made, since all of the file will be read.
    Kept,
}

/// Opens a file of weights, of an address, or standard input for `-`; an error names it.
pub(crate) fn open_with(path: &Path, options: &OpenOptions, copy: Copy) -> Result<Weights> {
    if is_stdin(path) {
        let source = Box::new(stdin_file()?);
        let weights = Weights::new(source, options).map_err(|error| error.in_file(shown(path)))?;
        return Ok(weights.with_bases(Arc::new(folders(path))));
    }
    let Some(address) = address(path) else {
        return Ok(Weights::open(path, options)?.with_bases(Arc::new(folders(path))));
    };
    let cache = match copy {
        Copy::Ignored => None,
        Copy::Read | Copy::Kept => Cache::of_user().map_err(Failure::Remote)?,
    };
    let url = UrlOptions::new().packed(true).cache(cache, copy == Copy::Kept);
    let opened = open_weights(address, options, &url.cancelled(signals::caught), |source| source);
    let opened = opened.map_err(|error| match error {
        OpenError::Container(error) => Failure::Container(error),
        OpenError::Remote(error) => Failure::Remote(error),
        error => Failure::Other(error.to_string()),
    })?;
    if opened.is_downloaded {
        let shown = path.display();
        report_note(&format!("{shown}: all of it was downloaded: its server sends no ranges"));
    }
    COPIES.lock().unwrap_or_else(PoisonError::into_inner).extend(opened.cached);
    Ok(opened.weights.with_bases(Arc::new(folders(path))))
}

/// The copies in the cache that were opened.
static COPIES: Mutex<Vec<(Cache, String)>> = Mutex::new(Vec::new());

/// Removes the copies that were opened, after one turned out to be damaged: the next command gets
/// the file from its server.
pub(crate) fn remove_copies() {
    for (cache, key) in COPIES.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        if cache.remove(&key) {
            report_note("the copy in the cache was removed: read again");
        }
    }
}

/// Opens a file of which a part is read.
pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Weights> {
    open_with(path, options, Copy::Read)
}

/// Opens a packed file of a path, or standard input for `-`; an error names it.
pub(crate) fn open_packed(path: &Path) -> Result<Reader> {
    let reader = match is_stdin(path) {
        false => Reader::open(path)?,
        true => Reader::new(Box::new(stdin_file()?), &OpenOptions::new())
            .map_err(|error| error.in_file(shown(path)))?,
    };
    Ok(reader.with_bases(Arc::new(folders(path))))
}

/// Returns standard input as a file that can be read at any offset. What comes through a pipe is
/// first written to a temporary file without a name, which is gone with the process however that
/// ends. Called before [`signals::catch`]: a signal then ends the process while it waits for bytes.
pub(crate) fn stdin_file() -> Result<File> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Failure::Usage("'-' is standard input, which can be read only once".into()));
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let problem = "standard input is a terminal: send a file to it, by '<' or a pipe";
        return Err(Failure::Usage(problem.into()));
    }
    if let Some(file) = redirected() {
        return Ok(file);
    }
    spool(&mut stdin.lock())
}

/// Returns the file that standard input was redirected from, if nobody has read of it yet.
#[cfg(unix)]
fn redirected() -> Option<File> {
    use std::os::fd::AsFd;
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let whole = file.metadata().ok()?.is_file() && file.stream_position().ok()? == 0;
    whole.then_some(file)
}

#[cfg(not(unix))]
fn redirected() -> Option<File> {
    None
}

fn spool(from: &mut dyn Read) -> Result<File> {
    let spooled = |error: io::Error| {
        let folder = std::env::temp_dir();
        Failure::Other(format!(
            "{STDIN} is kept in {}: {error}: TMPDIR names a folder with more room",
            folder.display()
        ))
    };
    let mut file = tempfile::tempfile().map_err(spooled)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if signals::caught() {
            return Err(Error::Cancelled.into());
        }
        let len = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Other(format!("reading {STDIN}: {error}"))),
        };
        file.write_all(&buffer[..len]).map_err(spooled)?;
    }
    file.rewind().map_err(spooled)?;
    Ok(file)
}
