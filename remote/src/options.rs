//! How an address is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;

/// The time after which a server that sends nothing is given up, and asked again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How to open an address.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use at1w_remote::UrlOptions;
///
/// let options = UrlOptions::new().timeout(Duration::from_secs(5)).download(false);
/// assert!(!options.download);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct UrlOptions {
    /// The time after which a server that sends nothing is given up, and asked again. A request
    /// ends after ten times as long in any case. Default 30 s.
    pub timeout: Duration,
    /// Whether to download all of a file, to a temporary one without a name, where the server sends
    /// no ranges. Default true.
    pub download: bool,
    /// Whether to read the packed form of a file, where the server announces one that this version
    /// can read, in place of the plain one. Both have the same tensors. Default false.
    pub packed: bool,
    /// The cache that packed files of weights are looked for in, by [`crate::open_weights`].
    pub cache: Option<Cache>,
    /// Whether to keep what is read in the cache, once all of a packed file was. Default false.
    pub keep: bool,
    pub(crate) cancelled: Cancelled,
}

impl Default for UrlOptions {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT,
            download: true,
            packed: false,
            cache: None,
            keep: false,
            cancelled: Cancelled(None),
        }
    }
}

impl fmt::Debug for UrlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlOptions")
            .field("timeout", &self.timeout)
            .field("download", &self.download)
            .field("packed", &self.packed)
            .field("cache", &self.cache)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

impl UrlOptions {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`UrlOptions::timeout`].
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets [`UrlOptions::download`].
    #[must_use]
    pub fn download(self, download: bool) -> Self {
        Self { download, ..self }
    }

    /// Sets [`UrlOptions::packed`].
    #[must_use]
    pub fn packed(self, packed: bool) -> Self {
        Self { packed, ..self }
    }

    /// Sets [`UrlOptions::cache`] and [`UrlOptions::keep`].
    #[must_use]
    pub fn cache(self, cache: Option<Cache>, keep: bool) -> Self {
        Self { cache, keep, ..self }
    }

    /// Sets a question that is asked while answers are waited for, on any thread: whether to give
    /// up. Whatever is read then fails with [`crate::Error::Cancelled`].
    #[must_use]
    pub fn cancelled(self, cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { cancelled: Cancelled(Some(Arc::new(cancelled))), ..self }
    }
}

/// The question whether to give up.
#[derive(Clone)]
pub(crate) struct Cancelled(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Cancelled {
    pub(crate) const NEVER: Self = Self(None);

    pub(crate) fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|cancelled| cancelled())
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}
