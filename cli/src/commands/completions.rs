//! `at1w completions`

use std::io::Write;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Result;
use crate::output::to_stdout;

/// Print the completions for a shell
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

const HELP: &str = "\
Examples:
  at1w completions bash > ~/.local/share/bash-completion/completions/at1w
  at1w completions zsh > ~/.zfunc/_at1w
  at1w completions fish > ~/.config/fish/completions/at1w.fish";

impl Completions {
    pub(crate) fn run(self, mut command: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "at1w", &mut script);
        to_stdout(|out| out.write_all(&script))
    }
}
