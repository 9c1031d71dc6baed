//! `at1w unpack`

use std::io::Write;
use std::path::{Path, PathBuf};

use at1w_container::{Progress, Reader, Summary, UnpackOptions, fs, repository, unpack_file};
use clap::Args;

use super::pack::in_place::restore;
use super::pack::speed;
use super::{AT1W, SAFETENSORS, default_target, with_suffix};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{printable, to_stdout};
use crate::progress::Bar;

/// Restore the original files, byte for byte
///
/// Every restored file gets its name only after its SHA-256 is checked against the original.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Unpack {
    /// An .at1w file, or a packed repository
    source: PathBuf,
    /// The file or directory to make [default: model.safetensors of model.at1w, model/ of
    /// model.at1w/]
    #[arg(short, long, value_name = "DST")]
    output: Option<PathBuf>,
    /// Restore each packed file under the name that it has, as it was before 'pack --in-place'
    #[arg(long, conflicts_with_all = ["output", "force"])]
    in_place: bool,
    /// Replace a file that exists, or files in a directory that exists; other files there stay
    #[arg(long, short)]
    force: bool,
}

const HELP: &str = "\
Examples:
  at1w unpack model.at1w
  at1w unpack model.at1w -o /tmp/model.safetensors
  at1w unpack ~/models/minilm.at1w              make ~/models/minilm/";

impl Unpack {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.in_place {
            return restore(&self.source, global);
        }
        if self.source.is_dir() { self.unpack_directory(global) } else { self.unpack_one(global) }
    }

    fn unpack_one(self, global: &Global) -> Result<()> {
        let Self { source, output, force: overwrite, .. } = self;
        let own_name = with_suffix(&source, AT1W, SAFETENSORS);
        let target = default_target(&source, output.or(own_name))?;
        fs::check_distinct(&source, &target)?;
        let original_len = Reader::open(&source)?.info().original_len;
        let bar = Bar::new(global.quiet)?;
        bar.begin(original_len);
        let options = UnpackOptions::new().overwrite(overwrite).progress(&bar);
        let summary = unpack_file(&source, &target, &options)?;
        let elapsed = bar.elapsed();
        drop(bar);
        if global.quiet {
            return Ok(());
        }
        let line = unpacked_line(&source, &target, &summary);
        to_stdout(|out| writeln!(out, "{line}  {}", speed(original_len, elapsed)))
    }

    fn unpack_directory(self, global: &Global) -> Result<()> {
        let Self { source, output, force: overwrite, .. } = self;
        require_repository(&source)?;
        let own_name = with_suffix(&source, AT1W, "");
        let target = default_target(&source, output.or(own_name))?;
        let bar = Bar::new(global.quiet)?;
        let options = repository::Options::new().overwrite(overwrite).progress(&bar);
        let summary = repository::unpack(&source, &target, &options)?;
        let elapsed = bar.elapsed();
        drop(bar);
        if global.quiet {
            return Ok(());
        }
        let len = summary.original_len;
        to_stdout(|out| {
            for file in &summary.packed {
                let (from, to) = (source.join(&file.packed_path), target.join(&file.path));
                writeln!(out, "{}", unpacked_line(&from, &to, &file.summary))?;
            }
            writeln!(
                out,
                "{} -> {}  {len} bytes  {} unpacked, {} carried over  {}",
                printable(&source.display().to_string()),
                printable(&target.display().to_string()),
                summary.packed.len(),
                summary.carried,
                speed(len, elapsed)
            )
        })
    }
}

/// Checks that a directory has a manifest.
pub(super) fn require_repository(directory: &Path) -> Result<()> {
    if repository::is_repository(directory) {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "{}: is no packed repository, it has no at1w-manifest.json: name one file in it",
        directory.display()
    )))
}

fn unpacked_line(source: &Path, target: &Path, summary: &Summary) -> String {
    let Summary { original_len, original_digest, .. } = summary;
    let (source, target) = (source.display().to_string(), target.display().to_string());
    let (source, target) = (printable(&source), printable(&target));
    format!("{source} -> {target}  {original_len} bytes  SHA-256 {original_digest}")
}
