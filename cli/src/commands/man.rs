//! `at1w man`

use std::io::Write;
use std::path::{Path, PathBuf};

use at1w_container::Error;
use at1w_container::fs::write_atomically;
use clap::{Args, Command};
use clap_mangen::Man as Page;

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{printable, to_stdout};
use crate::signals;

/// Write the man pages
///
/// They are at1w.1 and one page for each command, such as at1w-pack.1.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Man {
    /// The directory for the pages
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Replace pages that exist
    #[arg(long, short)]
    force: bool,
}

const HELP: &str = "\
Examples:
  at1w man ~/.local/share/man/man1
  at1w man . && man ./at1w-pack.1";

impl Man {
    pub(crate) fn run(self, global: &Global, command: Command) -> Result<()> {
        signals::catch()?;
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let mut pages = vec![self.write(command.clone())?];
        for subcommand in command.get_subcommands() {
            // The page is about "at1w pack", and its file is at1w-pack.1.
            pages.push(self.write(subcommand.clone())?);
        }
        if global.quiet {
            return Ok(());
        }
        to_stdout(|out| {
            pages.iter().try_for_each(|page| writeln!(out, "{}", printable(&shown(page))))
        })
    }

    fn write(&self, command: Command) -> Result<PathBuf> {
        let page = Page::new(command);
        let path = self.directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text).map_err(|error| Failure::Other(format!("no man page: {error}")))?;
        if signals::caught() {
            return Err(Error::Cancelled.into());
        }
        write_atomically(&path, self.force, |file| file.write_all(&text).map_err(Error::Write))?;
        Ok(path)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
