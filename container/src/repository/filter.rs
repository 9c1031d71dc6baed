//! Patterns that choose the files of a repository.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::manifest::ancestors;
use crate::error::{Error, Result};

/// The files of a directory that are taken: those that some pattern of the first kind matches, or
/// all if there are none, but for those that a pattern of the second kind matches.
///
/// A pattern without a slash matches names at any depth, one with a slash whole paths from the
/// root: `*.bin`, `optimizer/**`. `*` stops at a slash, `**` does not. A pattern of the second kind
/// that matches a directory leaves out all of it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Makes a filter of patterns.
    ///
    /// # Errors
    /// [`Error::Pattern`].
    pub fn new<S: AsRef<str>>(include: &[S], exclude: &[S]) -> Result<Self> {
        let include = (!include.is_empty()).then(|| set(include)).transpose()?;
        Ok(Self { include, exclude: set(exclude)? })
    }

    /// Whether a file is taken that lies in directories that are.
    pub(super) fn takes(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(path)) && !self.excludes(path)
    }

    /// Whether a file is taken, as are all directories that it lies in.
    pub(super) fn takes_all_of(&self, path: &str) -> bool {
        self.takes(path) && !ancestors(path).any(|folder| self.excludes(folder))
    }

    /// Whether a file is left out, or a directory with all that it holds.
    pub(super) fn excludes(&self, path: &str) -> bool {
        self.exclude.is_match(path)
    }
}

fn set<S: AsRef<str>>(patterns: &[S]) -> Result<GlobSet> {
    let problem = |error: globset::Error| Error::Pattern(error.to_string());
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.as_ref().trim_end_matches('/');
        let anchored = match pattern.strip_prefix('/') {
            Some(anchored) => anchored.to_owned(),
            None if pattern.contains('/') => pattern.to_owned(),
            None => format!("**/{pattern}"),
        };
        set.add(GlobBuilder::new(&anchored).literal_separator(true).build().map_err(problem)?);
    }
    set.build().map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_or_paths() {
        let filter =
            Filter::new(&["*.safetensors", "/config.json"], &["old/**", "*-fp16.*"]).unwrap();
        for path in ["model.safetensors", "a/b/model.safetensors", "config.json"] {
            assert!(filter.takes(path), "{path}");
        }
        for path in ["a/config.json", "model.bin", "old/model.safetensors", "a/m-fp16.safetensors"]
        {
            assert!(!filter.takes(path), "{path}");
        }
        assert!(Filter::default().takes("anything"));
        assert!(Filter::new::<&str>(&[], &["logs/"]).unwrap().excludes("a/logs"));
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error() {
        assert!(matches!(Filter::new(&["a["], &[]), Err(Error::Pattern(_))));
    }
}
