//! How a repository is packed or unpacked.

use std::fmt;

use at1w_codec::Level;

use crate::progress::Progress;

/// How to pack or unpack a repository.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Whether to write into a directory that exists, and to replace files there.
    pub overwrite: bool,
    /// Whether packed files keep the names of their sources, so that loaders still find them.
    pub keep_names: bool,
    /// Whether to refuse to pack a repository with a [`Fault`](super::Fault), before anything is
    /// written.
    pub strict: bool,
    /// How hard to look for a small encoding.
    pub level: Level,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            overwrite: false,
            keep_names: false,
            strict: false,
            level: Level::default(),
            progress: &(),
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { overwrite, keep_names, strict, level, progress: _ } = self;
        f.debug_struct("Options")
            .field("overwrite", overwrite)
            .field("keep_names", keep_names)
            .field("strict", strict)
            .field("level", level)
            .finish_non_exhaustive()
    }
}

impl<'a> Options<'a> {
    /// Returns the defaults: a new target, names that end in `.at1w`, faults are carried over, the
    /// default level, and nobody is told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to write into a directory that exists, and to replace files there.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// Sets whether packed files keep the names of their sources.
    #[must_use]
    pub fn keep_names(self, keep_names: bool) -> Self {
        Self { keep_names, ..self }
    }

    /// Sets whether to refuse to pack a repository with faults.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// Sets how hard to look for a small encoding.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Sets the listener that is told about the work.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}
