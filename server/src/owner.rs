//! The owner of a namespace.

/// The one whom a namespace belongs to, for good: this store, or an upstream whose repositories are
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Local,
    Upstream,
}

impl Owner {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Upstream => "upstream",
        }
    }
}
