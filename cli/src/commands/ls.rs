//! `at1w ls`

use std::path::PathBuf;

use at1w_container::OpenOptions;
use clap::Args;

use crate::Global;
use crate::directory::Directory;
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::input;
use crate::listing::files::FileList;
use crate::listing::sort::Order;
use crate::listing::tensors::{Patterns, TensorList};

/// List the tensors of a file, or the files of a directory
///
/// Prints for each tensor its name, dtype, shape, raw and stored bytes, the percentage of the two,
/// stored bits per element, its model (scale and tables on the format page), and the SHA-256 of its
/// raw bytes, which 'at1w get FILE NAME -o x.bin' writes and sha256sum hashes. A .safetensors has
/// neither models nor digests. Of a URL only the index is read, which has no models. Of a version
/// it prints the base and the depth as well: the number of files to one that stands alone.
///
/// Of a directory it prints the files of weights in both formats, whatever their names are; with
/// --tensors or a PATTERN the tensors of all of them. A file with several names counts once.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Ls {
    /// An .at1w or .safetensors file, by path or URL, a directory, or - for standard input
    #[arg(value_name = "FILE-OR-DIR")]
    path: PathBuf,
    /// List only the tensors whose names match one of these: '*' stands for any characters, '?' for
    /// one, [0-9] for one of these, {a,b} for one of both
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// List the tensors of a directory, not its files
    #[arg(long, short)]
    tensors: bool,
    #[command(flatten)]
    order: Order,
    #[command(flatten)]
    figures: Figures,
    /// Print a JSON array with an object for each tensor or file
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
--json: a tensor has the keys name, dtype, shape, raw_bytes, stored_bytes, bits_per_element (null
for empty tensors and unknown dtypes), model, chunks and sha256 (null for a .safetensors), base and
depth (null for a tensor that stands alone), and in a directory file. A file has path,
original_path, format, tensors, dtypes, original_bytes, packed_bytes, root and original_sha256 (null
where they are not known).

Examples:
  at1w ls model.at1w
  at1w ls model.at1w '*.mlp.*' --sort ratio
  at1w ls ~/models/minilm.at1w                  its files and totals
  at1w ls ~/models/minilm.at1w --tensors
  at1w ls hf://lab/minilm/model.safetensors     of a hub; https://, s3://, gs:// and az:// as well
  at1w ls --json model.at1w | jq -r '.[] | select(.dtype == \"BF16\") | .name'";

impl Ls {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let patterns = Patterns::new(&self.patterns)?;
        if !self.path.is_dir() {
            let weights = input::open(&self.path, &OpenOptions::new())?;
            let mut tensors = match input::address(&self.path) {
                Some(_) => TensorList::without_models(),
                None => TensorList::default(),
            };
            tensors
                .add(&weights, &patterns, None)
                .map_err(|error| error.in_file(input::shown(&self.path)))?;
            let pinned = weights.root().map(|root| format!("root {root}"));
            let pinned = pinned.unwrap_or_else(|| "no root: nothing pins its bytes".into());
            tensors.print(&self.order, self.figures, self.json, pinned)?;
            return all_matched(&patterns);
        }
        let mut directory = Directory::read(&self.path, global)?;
        if self.tensors || !patterns.is_empty() {
            let mut tensors = TensorList::default();
            directory.each(|file, weights| tensors.add(&weights, &patterns, Some(&file.path)));
            tensors.print(&self.order, self.figures, self.json, String::new())?;
            return directory.outcome().and_then(|()| all_matched(&patterns));
        }
        let mut files = FileList::default();
        let others = directory.each(|file, weights| {
            files.add(file, &weights);
            Ok(())
        });
        files.sort(&self.order);
        files.print(&others, self.figures, self.json, directory.pinned_by())?;
        directory.outcome()
    }
}

/// Checks that every pattern matched a tensor.
fn all_matched(patterns: &Patterns) -> Result<()> {
    match patterns.without_match() {
        none if none.is_empty() => Ok(()),
        without => Err(Failure::NoMatch(without)),
    }
}
