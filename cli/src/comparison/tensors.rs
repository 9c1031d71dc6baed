//! The tensors of two files, compared.

use std::collections::BTreeMap;
use std::io::{self, Write};

use at1w_container::{Digest, Error, Progress, TensorInfo, Weights};
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::output::{printable, shape};

/// The tensors of a file by their names.
pub(crate) type Tensors = BTreeMap<String, Entry>;

/// The properties that make two tensors the same.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Entry {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) sha256: String,
}

/// The differences of two files.
#[derive(Default, Serialize)]
pub(crate) struct Differences {
    pub(crate) same: usize,
    #[serde(serialize_with = "names")]
    pub(crate) removed: Tensors,
    #[serde(serialize_with = "names")]
    pub(crate) added: Tensors,
    pub(crate) changed: Vec<Change>,
    pub(crate) renamed: Vec<Renaming>,
    pub(crate) metadata_changed: bool,
}

#[derive(Serialize)]
pub(crate) struct Change {
    name: String,
    from: Entry,
    to: Entry,
}

#[derive(Serialize)]
pub(crate) struct Renaming {
    from: String,
    to: String,
}

/// The content of a file of weights.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) tensors: Tensors,
    pub(crate) metadata: BTreeMap<String, String>,
}

fn names<S: Serializer>(tensors: &Tensors, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(tensors.keys())
}

impl Content {
    /// Reads the digests of a file on record; those of a safetensors file are computed.
    pub(crate) fn read(weights: &Weights, progress: &dyn Progress) -> Result<Self, Error> {
        if weights.packed().is_none() {
            progress.begin(weights.original_len());
        }
        let entry = |tensor: &TensorInfo| {
            let digest = weights.tensor_digest(tensor.name(), progress)?;
            Ok((tensor.name().to_owned(), Entry::new(tensor, digest)))
        };
        let metadata = weights.header().metadata();
        Ok(Self {
            tensors: weights
                .header()
                .tensors()
                .par_iter()
                .map(entry)
                .collect::<Result<_, Error>>()?,
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        })
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
    pub(crate) fn of(old: &Content, new: &Content) -> Self {
        let mut differences = Self::of_tensors(old.tensors.clone(), new.tensors.clone());
        differences.metadata_changed = old.metadata != new.metadata;
        differences
    }

    pub(crate) fn of_tensors(old: Tensors, new: Tensors) -> Self {
        let found = at1w_container::Differences::of(old, new);
        let changed = found.changed.into_iter();
        let renamed = found.renamed.into_iter();
        Self {
            same: found.same.len(),
            removed: found.removed,
            added: found.added,
            changed: changed.map(|(name, (from, to))| Change { name, from, to }).collect(),
            renamed: renamed.map(|(from, to)| Renaming { from, to }).collect(),
            metadata_changed: false,
        }
    }

    pub(crate) fn any(&self) -> bool {
        let Self { removed, added, changed, renamed, metadata_changed, .. } = self;
        let lists = [removed.len(), added.len(), changed.len(), renamed.len()];
        lists.iter().any(|&len| len > 0) || *metadata_changed
    }

    /// Prints a line for each difference, after `indent`.
    pub(crate) fn print_lines(&self, indent: &str, out: &mut impl Write) -> io::Result<()> {
        let Self { removed, added, changed, renamed, metadata_changed, .. } = self;
        for name in removed.keys() {
            writeln!(out, "{indent}- {}", printable(name))?;
        }
        for name in added.keys() {
            writeln!(out, "{indent}+ {}", printable(name))?;
        }
        for Change { name, from, to } in changed {
            let how = match (from.kind(), to.kind()) {
                (from, to) if from == to => format!("{from}, other values"),
                (from, to) => format!("{from} -> {to}"),
            };
            writeln!(out, "{indent}~ {}  {how}", printable(name))?;
        }
        for Renaming { from, to } in renamed {
            writeln!(out, "{indent}> {} -> {}", printable(from), printable(to))?;
        }
        if *metadata_changed {
            writeln!(out, "{indent}~ the metadata")?;
        }
        Ok(())
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        self.print_lines("", out)?;
        writeln!(
            out,
            "{} same, {} changed, {} removed, {} added, {} renamed",
            self.same,
            self.changed.len(),
            self.removed.len(),
            self.added.len(),
            self.renamed.len()
        )
    }
}
