//! `at1w rebase`

use std::path::PathBuf;

use at1w_container::{Error, FileKind, PackOptions, Reader, Wanted, rebase_file};
use clap::Args;

use super::pack::LevelName;
use crate::Global;
use crate::bases;
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::input::{folders, has_no_path};
use crate::progress::Bar;
use crate::report::{Report, Totals, speed};

/// Pack a file anew as a version of others, or to stand alone
///
/// The file holds the same and has the same root, so that pins and signatures stay valid. Its old
/// bases are needed for this last time. It is replaced when the new one is complete.
#[derive(Args)]
#[command(after_help = HELP)]
#[command(group(clap::ArgGroup::new("how").required(true).args(["onto", "alone"])))]
pub(crate) struct Rebase {
    /// An .at1w file
    file: PathBuf,
    /// The files (.at1w or .safetensors) that it becomes a version of
    #[arg(long, value_name = "BASE", num_args = 1..)]
    onto: Vec<PathBuf>,
    /// Let it stand alone: it needs no other file then
    #[arg(long)]
    alone: bool,
    /// How many versions it may be away from a file that stands alone, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u8).range(1..=8))]
    max_depth: u8,
    /// The file to make [default: the file itself is replaced]
    #[arg(short, long, value_name = "DST")]
    output: Option<PathBuf>,
    /// How hard to look for a small encoding
    #[arg(short, long, value_name = "LEVEL", default_value = "default")]
    level: LevelName,
    /// Replace an output that exists
    #[arg(long, short, requires = "output")]
    force: bool,
    /// Print a line of JSON for each event, and one for the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    figures: Figures,
}

const HELP: &str = "\
Examples:
  at1w rebase step200.at1w --alone              before step100.at1w is deleted
  at1w rebase step200.at1w --onto step0.at1w    nearer to the start of its chain";

impl Rebase {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let mut report = Report::new(global, self.figures, self.json, self.output.as_deref());
        let outcome = self.rebase(&mut report, global);
        report.end(outcome)
    }

    fn rebase(&self, report: &mut Report<'_>, global: &Global) -> Result<()> {
        let Self { file, onto, max_depth, output, force, .. } = self;
        if has_no_path(file) {
            return Err(Failure::Usage("rebase needs a file on this machine".into()));
        }
        let target = output.as_ref().unwrap_or(file);
        if !at1w_container::is_packed(file)? {
            return Err(Error::wrong_kind(FileKind::Safetensors, Wanted::At1w)
                .in_file(file)
                .into());
        }
        let bases: Vec<_> = onto.iter().map(|path| bases::open(path)).collect::<Result<_>>()?;
        let bar = Bar::new(global.quiet)?;
        at1w_container::Progress::begin(&bar, Reader::open(file)?.info().original_len);
        let options = PackOptions::new()
            .overwrite(*force || output.is_none())
            .level(self.level.into())
            .bases(&bases)
            .max_depth(*max_depth)
            .progress(&bar);
        let summary = rebase_file(file, target, folders(file), &options)?;
        let elapsed = bar.elapsed();
        drop(bar);
        let speed = format!("  {}", speed(summary.original_len, elapsed));
        report.packed(file, target, &summary, &speed);
        report.add(Totals {
            packed: 1,
            original_bytes: summary.original_len,
            packed_bytes: summary.packed_len,
            seconds: elapsed.as_secs_f64(),
            ..Totals::default()
        });
        Ok(())
    }
}
