//! The usage of a store: the sizes of each namespace and repository, from its first push on.

use crate::meter::series::Series;

/// The usage of a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Each namespace.
    pub namespaces: Vec<NamespaceUsage>,
    /// What is damaged or missing, so that a size is less than it was, or not known.
    pub faults: Vec<String>,
}

/// The usage of a namespace. What several of its repositories have counts once as unique and as
/// stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NamespaceUsage {
    /// The name.
    pub name: String,
    /// The sizes.
    pub series: Series,
    /// Each repository, those that were removed as well.
    pub repos: Vec<RepoUsage>,
}

/// The usage of a repository.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepoUsage {
    /// The namespace and the name.
    pub name: String,
    /// The sizes of all that had the name.
    pub series: Series,
    /// The sizes of the one that has it now, or had it last.
    pub last: Series,
}

impl Usage {
    /// Returns the sizes of all namespaces together.
    pub fn total(&self) -> Series {
        Series::sum(self.namespaces.iter().map(|namespace| &namespace.series))
    }
}
