//! `at1w cache`

use std::io::Write;
use std::time::SystemTime;

use at1w_remote::{Cache as Copies, CachedFile};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::Global;
use crate::failure::{Failure, Result, report_note};
use crate::figures::{Figures, human};
use crate::listing::table::Align::{Left, Right};
use crate::listing::table::Table;
use crate::output::{counted, json, to_stdout};

/// List or clear the copies of remote files on this disk
///
/// Packed files that were read whole from a URL are kept, under their roots, in the folder that
/// AT1W_CACHE names, by default at1w in the user's folder of caches. Whatever is read of a copy is
/// verified. AT1W_CACHE_SIZE bounds all of them, in bytes; those go first that were not used for
/// longest. AT1W_CACHE=off keeps none.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Cache {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  at1w cache ls
  at1w cache clear";

#[derive(Subcommand)]
enum Command {
    /// List the copies, those first that were used last
    Ls(Ls),
    /// Remove all copies
    Clear,
}

#[derive(Args)]
struct Ls {
    #[command(flatten)]
    figures: Figures,
    /// Print a JSON array with an object for each copy
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    /// `None` for a file that is not whole.
    root: Option<String>,
    bytes: u64,
    /// The time when it was used last, in seconds since 1970.
    used: u64,
}

impl Row {
    fn new(file: &CachedFile, whole: bool) -> Self {
        let used = file.used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let root = whole.then(|| file.key.clone());
        Self { root, bytes: file.len, used: used.as_secs() }
    }
}

impl Cache {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let Some(copies) = Copies::of_user().map_err(Failure::Remote)? else {
            return Err(Failure::Other("AT1W_CACHE is off: no copies are kept".into()));
        };
        let failed = |error: std::io::Error| {
            Failure::Other(format!("{}: {error}", copies.folder().display()))
        };
        match self.command {
            Command::Ls(ls) => {
                let (whole, others) =
                    (copies.list().map_err(failed)?, copies.unfinished().map_err(failed)?);
                let whole = whole.iter().map(|file| Row::new(file, true));
                ls.print(
                    &whole
                        .chain(others.iter().map(|file| Row::new(file, false)))
                        .collect::<Vec<_>>(),
                )
            }
            Command::Clear => {
                let files = copies.clear().map_err(failed)?;
                let bytes = files.iter().map(|file| file.len).sum();
                if !global.quiet {
                    let count = counted(files.len() as u64, "file");
                    report_note(&format!("{count} removed, {}", human(bytes)));
                }
                Ok(())
            }
        }
    }
}

impl Ls {
    fn print(self, rows: &[Row]) -> Result<()> {
        if self.json {
            return json(&rows);
        }
        let mut table = Table::new(&[("ROOT", Left), ("SIZE", Right)]);
        for row in rows {
            let root = row.root.as_deref().map(|root| self.figures.digest(root));
            let root = root.unwrap_or_else(|| "(unfinished)".into());
            table.row(vec![root, self.figures.cell(row.bytes)]);
        }
        let total = rows.iter().map(|row| row.bytes).sum();
        table.row(vec!["all".into(), self.figures.cell(total)]);
        to_stdout(|out| table.print(out).and_then(|()| out.flush()))
    }
}
