//! How a file is packed.

use std::fmt;

use at1w_codec::{Backend, Level};

use super::pack_base::PackBase;
use crate::progress::Progress;

/// How to pack a file.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PackOptions<'a> {
    /// Whether to replace a target that exists. Plays no part where a sink is written to.
    pub overwrite: bool,
    /// The back-end of the kernels. `None` is the one that the environment variable `AT1W_SIMD`
    /// names, or the best one. The packed bytes are the same on all.
    pub backend: Option<Backend>,
    /// How hard to look for a small encoding.
    pub level: Level,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
    /// The files that the packed one may be a version of: tensors that are the same as one of these
    /// are not stored, and others as differences where these are smaller. Readers then need the
    /// bases as well.
    pub bases: &'a [PackBase],
    /// The most that a version may be away from a file that stands alone, 1 to 8.
    pub max_depth: u8,
}

impl Default for PackOptions<'_> {
    fn default() -> Self {
        Self {
            overwrite: false,
            backend: None,
            level: Level::default(),
            progress: &(),
            bases: &[],
            max_depth: 4,
        }
    }
}

impl fmt::Debug for PackOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { overwrite, backend, level, progress: _, bases, max_depth } = self;
        f.debug_struct("PackOptions")
            .field("overwrite", overwrite)
            .field("backend", backend)
            .field("level", level)
            .field("bases", bases)
            .field("max_depth", max_depth)
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

    /// Sets the back-end of the kernels.
    #[must_use]
    pub fn backend(self, backend: impl Into<Option<Backend>>) -> Self {
        Self { backend: backend.into(), ..self }
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

    /// Sets the files that the packed one may be a version of.
    #[must_use]
    pub fn bases(self, bases: &'a [PackBase]) -> Self {
        Self { bases, ..self }
    }

    /// Sets the most that a version may be away from a file that stands alone.
    #[must_use]
    pub fn max_depth(self, max_depth: u8) -> Self {
        Self { max_depth, ..self }
    }
}
