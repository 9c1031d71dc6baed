//! Opening stores and files by their addresses.

use std::io::Write;
use std::sync::Arc;

use at1w_container::{FEATURES, MEDIA_TYPE};
use reqwest::Url;

use crate::answer::alternate;
use crate::error::{Error, Result};
use crate::location::{bucket, directory, hub, is_bucket, parse};
use crate::objects::Objects;
use crate::options::UrlOptions;
use crate::origin::{First, Origin};
use crate::runtime::block_on_unless;
use crate::source::RemoteFile;
use crate::web::Web;

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
/// `hf://ns/name[@rev]/path` (the hub of `HF_ENDPOINT`, the token of `HF_TOKEN` or of its client).
///
/// It blocks, and so does whatever reads the file: asynchronous code calls both by
/// [`unblock`](crate::unblock).
///
/// # Errors
/// As [`open_url_with`].
///
/// # Examples
/// One tensor of a large file, by three requests. Every byte is verified, and the root says which
/// file it must be.
///
/// ```no_run
/// use at1w_container::{OpenOptions, Reader};
///
/// # let root: at1w_container::Digest = "00".repeat(32).parse()?;
/// let file = at1w_remote::open_url("https://example.org/models/llama.at1w")?;
/// let reader = Reader::new(Box::new(file), &OpenOptions::new().root(root))?;
/// let embedding = reader.tensor("model.embed_tokens.weight")?;
/// let (shape, rows) = embedding.read_slice(&"100:110".parse()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_url(address: &str) -> Result<RemoteFile> {
    open_url_with(address, &UrlOptions::new())
}

/// [`open_url`], with options.
///
/// # Errors
/// [`Error::Address`], [`Error::NotFound`], [`Error::Refused`], [`Error::NoRanges`],
/// [`Error::Busy`], [`Error::TimedOut`], [`Error::Cancelled`] and [`Error::Failed`].
pub fn open_url_with(address: &str, options: &UrlOptions) -> Result<RemoteFile> {
    if is_bucket(address) {
        let (store, path, credentials) = bucket(address)?;
        let origin = address.strip_suffix(path.as_ref()).unwrap_or(address);
        let origin = origin.trim_end_matches('/');
        let objects = Arc::new(Objects::new(store, "").described(origin, credentials));
        let origin = Origin::Object { objects, key: path.to_string() };
        return Ok(RemoteFile::open(origin, first(path.as_ref()), options)?.0);
    }
    let (url, token) = match address.strip_prefix("hf://") {
        Some(rest) => hub(address, rest)?,
        None => (parse(address)?, None),
    };
    open_web(&url, token.as_deref(), options, options.packed)
}

/// Opens a file on a web server; or its packed form, where that is wanted and announced.
pub(crate) fn open_web(
    url: &Url,
    token: Option<&str>,
    options: &UrlOptions,
    packed: bool,
) -> Result<RemoteFile> {
    let web = || Web::new(url.clone(), token.map(str::to_owned), options.timeout);
    let opened = RemoteFile::open(Origin::Web(web()), first(url.path()), options);
    let (file, opened) = match opened {
        Err(Error::NoRanges(_)) if options.download => return download(web(), options),
        opened => opened?,
    };
    let announced = packed.then(|| alternate(&opened.headers, url, MEDIA_TYPE)).flatten();
    let Some(mut announced) = announced else { return Ok(file) };
    announced.query_pairs_mut().append_pair("features", &format!("{FEATURES:x}"));
    open_web(&announced, token, options, false)
}

/// Guesses from the name of a file at which end its index is.
fn first(path: &str) -> First {
    if path.ends_with(".safetensors") { First::Start } else { First::End }
}

/// Downloads all of a file to a temporary one without a name, which is gone with the process.
fn download(web: Web, options: &UrlOptions) -> Result<RemoteFile> {
    let failed = |cause: std::io::Error| Error::Failed {
        object: web.shown(),
        cause: format!("it is downloaded to {}: {cause}", std::env::temp_dir().display()),
    };
    let mut file = tempfile::tempfile().map_err(failed)?;
    let mut len = 0;
    let take = |bytes: &[u8]| {
        len += bytes.len() as u64;
        file.write_all(bytes).map_err(failed)
    };
    block_on_unless(&options.cancelled, web.get_all(take))?;
    Ok(RemoteFile::downloaded(Origin::Web(web), file, len))
}
