//! Files of weights by their addresses, with the cache in front of them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use at1w_container::{OpenOptions, ReadAt, Weights};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::open::open_url_with;
use crate::options::UrlOptions;

/// A failure to open weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be reached.
    #[error(transparent)]
    Remote(#[from] Error),
    /// The file is not what it should be.
    #[error(transparent)]
    Container(#[from] at1w_container::Error),
}

/// An open file of weights, and where it comes from.
#[derive(Debug)]
#[non_exhaustive]
pub struct RemoteWeights {
    /// The file.
    pub weights: Weights,
    /// Whether all of it was downloaded, because the server sends no ranges.
    pub is_downloaded: bool,
    /// The cache and the key of the copy that is read, if it is one.
    pub cached: Option<(Cache, String)>,
}

/// Opens the weights at an address. A packed file that is in the cache is read from there: every
/// byte of it is verified against its root. `wrap` may put a source of its own around the one that
/// is read.
///
/// # Errors
/// Those of [`open_url_with`] and of [`Weights::new`].
pub fn open_weights(
    address: &str,
    options: &OpenOptions,
    url: &UrlOptions,
    wrap: impl Fn(Box<dyn ReadAt>) -> Box<dyn ReadAt>,
) -> Result<RemoteWeights, OpenError> {
    let in_file = |error: at1w_container::Error| error.in_file(Path::new(address));
    let cached = |root: at1w_container::Digest| {
        let (cache, key) = (url.cache.clone()?, root.to_string());
        let file: File = cache.open(&key)?;
        match Weights::new(wrap(Box::new(file)), &options.root(root)) {
            Ok(weights) => {
                Some(RemoteWeights { weights, is_downloaded: false, cached: Some((cache, key)) })
            }
            Err(error) => {
                // A damaged copy is of no use to anybody.
                if error.is_integrity() {
                    cache.remove(&key);
                }
                None
            }
        }
    };
    if let Some(found) = options.root.and_then(cached) {
        return Ok(found);
    }
    let file = Arc::new(open_url_with(address, url)?);
    let weights = Weights::new(wrap(Box::new(file.clone())), options).map_err(in_file)?;
    if let Some(found) = weights.root().and_then(cached) {
        return Ok(found);
    }
    // Nothing could verify a copy of a plain file.
    file.keep_as(weights.root().map(|root| root.to_string()).as_deref());
    Ok(RemoteWeights { weights, is_downloaded: file.is_downloaded(), cached: None })
}
