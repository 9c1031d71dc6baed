//! How a file is packed.

use std::fmt;

use at1w_codec::Level;

use crate::progress::Progress;

/// How to pack a file.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PackOptions<'a> {
    /// Whether to replace a target that exists. Plays no part where a sink is written to.
    pub overwrite: bool,
    /// How hard to look for a small encoding.
    pub level: Level,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

impl Default for PackOptions<'_> {
    fn default() -> Self {
        Self { overwrite: false, level: Level::default(), progress: &() }
    }
}

impl fmt::Debug for PackOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { overwrite, level, progress: _ } = self;
        f.debug_struct("PackOptions")
            .field("overwrite", overwrite)
            .field("level", level)
            .finish_non_exhaustive()
    }
}

impl<'a> PackOptions<'a> {
    /// Returns the defaults: no target is replaced, the default level, and nobody is told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to replace a target that exists.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
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
