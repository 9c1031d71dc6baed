//! Sizes and digests, for people and for programs.

use std::io::{self, IsTerminal};

use clap::Args;
use indicatif::DecimalBytes;

/// How sizes and digests are printed.
#[derive(Args, Clone, Copy)]
pub(crate) struct Figures {
    /// Print sizes in kB, MB and GB (powers of ten) and the beginnings of digests; the default on a
    /// terminal
    #[arg(long, short = 'H', overrides_with = "exact")]
    human: bool,
    /// Print sizes in bytes and whole digests; the default everywhere else
    #[arg(long, overrides_with = "human")]
    exact: bool,
}

/// The number of digits that are shown of a digest.
const DIGITS: usize = 12;

impl Figures {
    fn for_people(self) -> bool {
        self.human || !self.exact && io::stdout().is_terminal()
    }

    /// Writes a size in a table: 1.20 MB, or 1200000.
    pub(crate) fn cell(self, bytes: u64) -> String {
        if self.for_people() { human(bytes) } else { bytes.to_string() }
    }

    /// Writes a size in a sentence: 1.20 MB, or 1200000 bytes.
    pub(crate) fn size(self, bytes: u64) -> String {
        if self.for_people() { human(bytes) } else { format!("{bytes} bytes") }
    }

    /// Writes a digest in a table, or its beginning.
    pub(crate) fn digest(self, digest: &str) -> String {
        match digest.get(..DIGITS) {
            Some(start) if self.for_people() => format!("{start}…"),
            _ => digest.to_owned(),
        }
    }
}

/// Writes a size in powers of ten.
pub(crate) fn human(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}
