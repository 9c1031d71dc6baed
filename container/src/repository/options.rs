//! How a repository is packed or unpacked.

use std::fmt;

use at1w_codec::Level;

use super::filter::Filter;
use crate::progress::Progress;

/// How to pack or unpack a repository.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Whether to write into a directory that exists, and to replace files there.
    pub overwrite: bool,
    /// Whether packed files keep the names of their sources, so that loaders still find them.
    pub keep_names: bool,
    /// Whether to refuse to pack a repository with a [`Fault`](super::Fault), before anything is
    /// written.
    pub strict: bool,
    /// The files that are left as they are in a target that exists.
    pub update: Update,
    /// Whether files of the target are removed whose sources are gone. Only files that the manifest
    /// of the target lists are.
    pub prune: bool,
    /// Whether a source that holds nothing may empty the target.
    pub prune_all: bool,
    /// Whether to pack the state of tools too, which is left out otherwise
    /// ([`Why`](super::Why)).
    pub all: bool,
    /// The files to pack.
    pub filter: Filter,
    /// How hard to look for a small encoding.
    pub level: Level,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

/// The files of a packed repository that are left as they are when it is packed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// None: every file is packed again.
    #[default]
    Nothing,
    /// Those whose sources have the size and the time that the manifest says.
    ByTime,
    /// Those whose sources have the SHA-256 that the manifest says. All sources are read.
    ByDigest,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            overwrite: false,
            keep_names: false,
            strict: false,
            update: Update::Nothing,
            prune: false,
            prune_all: false,
            all: false,
            filter: Filter::default(),
            level: Level::default(),
            progress: &(),
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("overwrite", &self.overwrite)
            .field("keep_names", &self.keep_names)
            .field("strict", &self.strict)
            .field("update", &self.update)
            .field("prune", &self.prune)
            .field("level", &self.level)
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

    /// Sets which files of a target that exists are left as they are. Unless none are, the target
    /// may exist without [`Options::overwrite`], if it is a packed repository or holds nothing.
    #[must_use]
    pub fn update(self, update: Update) -> Self {
        Self { update, ..self }
    }

    /// Sets whether files of the target are removed whose sources are gone.
    #[must_use]
    pub fn prune(self, prune: bool) -> Self {
        Self { prune, ..self }
    }

    /// Sets whether a source that holds nothing may empty the target.
    #[must_use]
    pub fn prune_all(self, prune_all: bool) -> Self {
        Self { prune_all, ..self }
    }

    /// Sets whether to pack the state of tools too.
    #[must_use]
    pub fn all(self, all: bool) -> Self {
        Self { all, ..self }
    }

    /// Sets the files to pack.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
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
