//! `at1w diff`

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use at1w_container::{Digest, OpenOptions, TensorInfo, Weights};
use clap::Args;
use serde::Serialize;

use super::revisions;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{json, printable, shape, to_stdout};
use crate::progress::Bar;

/// Compare the tensors of two files
///
/// Two tensors are the same if name, dtype, shape and SHA-256 are. Of a packed file the digests on
/// record are compared, which proves nothing of its content: 'at1w verify' does. A .safetensors is
/// read and hashed. The entries of the metadata are compared too, but not
/// the layout of the headers.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Diff {
    /// An .at1w or .safetensors file, or a revision in a store: STORE#NS/NAME@REV
    #[arg(value_name = "A")]
    old: PathBuf,
    /// Another such file or revision
    #[arg(value_name = "B")]
    new: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Each line begins with '-' for a tensor that is only in A, '+' for one that is only in B, '~' for one
that changed, and '>' for one that has another name in B. --json prints an object with the keys same
(a count), removed, added, changed, renamed (objects with from and to) and metadata_changed.

Exit codes: 0 the same, 1 different, 2 a file could not be compared, 3 a file is damaged.

Examples:
  at1w diff old.at1w new.at1w
  at1w diff models#lab/minilm@v1 models#lab/minilm
  at1w diff model.safetensors model.at1w";

#[derive(Default, Serialize)]
struct Differences {
    same: usize,
    removed: Vec<String>,
    added: Vec<String>,
    changed: Vec<Change>,
    renamed: Vec<Renaming>,
    metadata_changed: bool,
}

#[derive(Serialize)]
struct Change {
    name: String,
    from: Entry,
    to: Entry,
}

#[derive(Serialize)]
struct Renaming {
    from: String,
    to: String,
}

/// The properties that make two tensors the same.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Entry {
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) sha256: String,
}

impl Diff {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let differences = self.compare(global).map_err(|error| Failure::Trouble(error.into()))?;
        let printed = if self.json { json(&differences) } else { differences.print() };
        match printed {
            // The reader of the pipe has seen enough. The answer is the exit code all the same.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            printed => printed.map_err(|error| Failure::Trouble(error.into()))?,
        }
        if differences.any() { Err(Failure::Different) } else { Ok(()) }
    }

    fn compare(&self, global: &Global) -> Result<Differences> {
        if let (Some(old), Some(new)) = (revisions::named(&self.old), revisions::named(&self.new)) {
            let (old, new) = (revisions::entries(old)?, revisions::entries(new)?);
            return Ok(Differences::of(old, new));
        }
        let bar = Bar::new(global.quiet)?;
        let open = |path: &Path| Weights::open(path, &OpenOptions::new());
        let (old, new) = (open(&self.old)?, open(&self.new)?);
        let entries = |path: &Path, weights: &Weights| -> Result<BTreeMap<String, Entry>> {
            let tensors = weights.header().tensors().iter();
            let entry = |tensor: &TensorInfo| {
                let digest = weights.tensor_digest(tensor.name(), &bar);
                let digest = digest.map_err(|error| error.in_file(path))?;
                Ok((tensor.name().to_owned(), Entry::new(tensor, digest)))
            };
            tensors.map(entry).collect()
        };
        let mut differences = Differences::of(entries(&self.old, &old)?, entries(&self.new, &new)?);
        let metadata = |weights: &Weights| {
            let entries = weights.header().metadata();
            entries
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect::<HashMap<_, _>>()
        };
        differences.metadata_changed = metadata(&old) != metadata(&new);
        Ok(differences)
    }
}

impl Entry {
    fn new(tensor: &TensorInfo, digest: Digest) -> Self {
        let (dtype, shape) = (tensor.dtype_name().to_owned(), tensor.shape().to_vec());
        Self { dtype, shape, sha256: digest.to_string() }
    }

    /// Writes dtype and shape.
    fn kind(&self) -> String {
        format!("{} {}", printable(&self.dtype), shape(&self.shape))
    }
}

impl Differences {
    fn of(old: BTreeMap<String, Entry>, mut new: BTreeMap<String, Entry>) -> Self {
        let mut differences = Self::default();
        let mut gone = Vec::new();
        for (name, from) in old {
            match new.remove(&name) {
                Some(to) if to == from => differences.same += 1,
                Some(to) => differences.changed.push(Change { name, from, to }),
                None => gone.push((name, from)),
            }
        }
        // Among several tensors with one content, the first names are paired.
        let mut by_entry = HashMap::<Entry, Vec<String>>::new();
        for (name, entry) in new.into_iter().rev() {
            by_entry.entry(entry).or_default().push(name);
        }
        for (from, entry) in gone {
            match by_entry.get_mut(&entry).and_then(Vec::pop) {
                Some(to) => differences.renamed.push(Renaming { from, to }),
                None => differences.removed.push(from),
            }
        }
        differences.added = by_entry.into_values().flatten().collect();
        differences.added.sort();
        differences
    }

    fn any(&self) -> bool {
        let Self { removed, added, changed, renamed, metadata_changed, .. } = self;
        let lists = [removed.len(), added.len(), changed.len(), renamed.len()];
        lists.iter().any(|&len| len > 0) || *metadata_changed
    }

    fn print(&self) -> Result<()> {
        let Self { same, removed, added, changed, renamed, metadata_changed } = self;
        to_stdout(|out| {
            for name in removed {
                writeln!(out, "- {}", printable(name))?;
            }
            for name in added {
                writeln!(out, "+ {}", printable(name))?;
            }
            for Change { name, from, to } in changed {
                let how = match (from.kind(), to.kind()) {
                    (from, to) if from == to => format!("{from}, other values"),
                    (from, to) => format!("{from} -> {to}"),
                };
                writeln!(out, "~ {}  {how}", printable(name))?;
            }
            for Renaming { from, to } in renamed {
                writeln!(out, "> {} -> {}", printable(from), printable(to))?;
            }
            if *metadata_changed {
                writeln!(out, "~ the metadata")?;
            }
            writeln!(
                out,
                "{same} same, {} changed, {} removed, {} added, {} renamed",
                changed.len(),
                removed.len(),
                added.len(),
                renamed.len()
            )
        })
    }
}
