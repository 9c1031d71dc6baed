//! Opening stores and files by their addresses.

use std::env;
use std::sync::Arc;

use object_store::path;

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::location::{bucket, directory, hub_url, is_bucket, parse, problem, web};
use crate::objects::Objects;
use crate::source::RemoteFile;

impl Objects {
    /// Opens the store at an address: a path, `file://`, `s3://`, `gs://` or `az://`.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn open(address: &str) -> Result<Self> {
        if let Some(root) = directory(address) {
            return Self::in_directory(&root);
        }
        let (store, prefix, credentials) = bucket(address)?;
        Ok(Self::new(store, prefix.as_ref()).described(address, credentials))
    }
}

/// Opens one file by its address: `http(s)://`, `s3://`, `gs://`, `az://`, or
/// `hf://ns/name[@rev]/path` (the hub of `HF_ENDPOINT`, the token of `HF_TOKEN`).
///
/// # Errors
/// [`Error::Address`], and those of [`RemoteFile::open`].
pub fn open_url(address: &str) -> Result<RemoteFile> {
    let (objects, key) = if is_bucket(address) {
        let (store, path, credentials) = bucket(address)?;
        let origin = address.strip_suffix(path.as_ref()).unwrap_or(address);
        let origin = origin.trim_end_matches('/');
        (Objects::new(store, "").described(origin, credentials), path.to_string())
    } else {
        let (address, token) = match address.strip_prefix("hf://") {
            Some(rest) => (hub_url(address, rest)?, env::var("HF_TOKEN").ok()),
            None => (address.to_owned(), None),
        };
        let url = parse(&address)?;
        let store = web(&url, token.as_deref()).map_err(|error| problem(&address, error))?;
        let path = path::Path::from_url_path(url.path());
        let path = path.map_err(|error| problem(&address, error))?;
        let origin = url.origin().ascii_serialization();
        (Objects::new(store, "").described(&origin, String::new()), path.to_string())
    };
    RemoteFile::open(Arc::new(objects), &key)
}
