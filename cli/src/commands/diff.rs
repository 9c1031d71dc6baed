//! `at1w diff`

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use at1w_container::{OpenOptions, Weights};
use clap::Args;
use serde::Serialize;

use super::revisions;
use crate::Global;
use crate::comparison::directories::{DirectoryDifferences, Files, all_tensors, read_files};
use crate::comparison::tensors::{Content, Differences, Tensors};
use crate::directory::Directory;
use crate::failure::{Failure, Reported, Result};
use crate::input;
use crate::output::{json, to_stdout};
use crate::progress::Bar;

/// Compare two files or directories by their tensors
///
/// Two tensors are the same if name, dtype, shape and SHA-256 are. Of a packed file the digests on
/// record are compared, which proves nothing of its content: 'at1w verify' does. A .safetensors is
/// read and hashed. The entries of the metadata are compared too, but not the layout of the
/// headers.
///
/// In directories, packed or not, files are compared that have the same path before packing, and
/// tensors are found that have moved to another file. A file and a directory are compared by the
/// tensors of all files together.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Diff {
    /// An .at1w or .safetensors file, by path or URL, a directory, a revision in a store
    /// (STORE#NS/NAME@REV), or - for standard input
    #[arg(value_name = "A")]
    old: PathBuf,
    /// Another of these
    #[arg(value_name = "B")]
    new: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Each line begins with '-' for a tensor that is only in A, '+' for one that is only in B, '~' for one
that changed, and '>' for one that has another name in B. --json prints an object with the keys same
(a count), removed, added, changed, renamed (objects with from and to) and metadata_changed. Of
directories, files has such an object for each file that is not the same, with path and change
(removed, added, changed or renamed); same_files counts the others, tensors has the totals, and
moved the tensors that are in another file.

Exit codes: 0 the same, 1 different, 2 something could not be compared, 3 a file is damaged.

Examples:
  at1w diff old.at1w new.at1w
  at1w diff model.safetensors model.at1w
  at1w diff models#lab/minilm@v1 models#lab/minilm
  at1w diff ~/models/minilm ~/models/minilm.at1w";

/// What is compared, opened.
enum Side {
    File(PathBuf, Box<Weights>),
    Directory(PathBuf, Directory),
    Revision(Tensors),
}

/// The differences of the two.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Files(Differences),
    Directories(DirectoryDifferences),
}

impl Diff {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        self.compare(global).map_err(|failure| match failure {
            Failure::Different => failure,
            trouble => Failure::Trouble(trouble.into()),
        })
    }

    fn compare(&self, global: &Global) -> Result<()> {
        let (mut old, mut new) = (Side::open(&self.old, global)?, Side::open(&self.new, global)?);
        let bar = Bar::new(global.quiet)?;
        let found = match (&mut old, &mut new) {
            (Side::Directory(_, old), Side::Directory(_, new)) => {
                let files = (read_files(old, &bar)?, read_files(new, &bar)?);
                Found::Directories(DirectoryDifferences::of(files.0, files.1))
            }
            (Side::File(..), Side::File(..)) => {
                Found::Files(Differences::of(&old.content(&bar)?, &new.content(&bar)?))
            }
            (old, new) => {
                Found::Files(Differences::of_tensors(old.tensors(&bar)?, new.tensors(&bar)?))
            }
        };
        drop(bar);
        let printed = if self.json { json(&found) } else { to_stdout(|out| found.print(out)) };
        match printed {
            // The reader of the pipe has seen enough. The answer is the exit code all the same.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            printed => printed?,
        }
        if let Some(worst) = old.worst().max(new.worst()) {
            return Err(Failure::Reported(worst));
        }
        if found.any() { Err(Failure::Different) } else { Ok(()) }
    }
}

impl Side {
    fn open(path: &Path, global: &Global) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned(), Directory::read(path, global)?));
        }
        if let Some(revision) = revisions::named(path) {
            return Ok(Self::Revision(revisions::tensors(revision)?));
        }
        let weights = input::open(path, &OpenOptions::new())?;
        Ok(Self::File(input::shown(path).to_owned(), Box::new(weights)))
    }

    fn content(&mut self, bar: &Bar) -> Result<Content> {
        match self {
            Self::File(path, weights) => {
                Ok(Content::read(weights, bar).map_err(|error| error.in_file(path))?)
            }
            Self::Directory(..) | Self::Revision(_) => {
                Ok(Content { tensors: self.tensors(bar)?, ..Content::default() })
            }
        }
    }

    /// Returns all tensors, of whichever file.
    fn tensors(&mut self, bar: &Bar) -> Result<Tensors> {
        let (path, directory) = match self {
            Self::Directory(path, directory) => (path, directory),
            Self::Revision(tensors) => return Ok(tensors.clone()),
            Self::File(..) => return Ok(self.content(bar)?.tensors),
        };
        let files: Files = read_files(directory, bar)?;
        all_tensors(&files).map_err(|name| {
            let path = path.display();
            Failure::Usage(format!("{path}: tensor {name:?} differs from file to file: name one"))
        })
    }

    /// Returns the worst that was reported of its files.
    fn worst(&self) -> Option<Reported> {
        match self {
            Self::File(..) | Self::Revision(_) => None,
            Self::Directory(_, directory) => directory.worst(),
        }
    }
}

impl Found {
    fn any(&self) -> bool {
        match self {
            Self::Files(differences) => differences.any(),
            Self::Directories(differences) => differences.any(),
        }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::Files(differences) => differences.print(out),
            Self::Directories(differences) => differences.print(out),
        }
    }
}
