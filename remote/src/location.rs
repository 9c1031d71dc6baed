//! Addresses: which object store each names, and with which credentials it is opened.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig, path,
};
use url::Url;

use crate::error::{Error, Result};
use crate::runtime::{CONNECT_TIMEOUT, choose_encryption};

/// The time after which a request is sent again of which nothing came or went. It may take ten
/// times as long: a slow line needs that for pieces side by side.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The number of times that a request is sent again.
const RETRIES: usize = 6;

/// The hub that `hf://` addresses are of where `HF_ENDPOINT` names none.
const HUB: &str = "https://huggingface.co";

/// Whether a text is an address of something remote, and no path.
pub fn is_remote(text: &str) -> bool {
    ["http://", "https://", "s3://", "gs://", "az://", "hf://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Whether an address is that of a web server.
pub fn is_web(address: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
}

/// Whether an address names a place in a bucket.
pub(crate) fn is_bucket(address: &str) -> bool {
    ["s3://", "gs://", "az://"].iter().any(|scheme| address.starts_with(scheme))
}

/// Returns the directory that an address names; `None` for a bucket.
pub(crate) fn directory(address: &str) -> Option<PathBuf> {
    if let Some(path) = address.strip_prefix("file://") {
        return Some(PathBuf::from(path));
    }
    (!address.contains("://")).then(|| PathBuf::from(address))
}

pub(crate) fn problem(address: &str, error: impl ToString) -> Error {
    Error::Address { address: address.into(), problem: error.to_string() }
}

pub(crate) fn parse(address: &str) -> Result<Url> {
    Url::parse(address).map_err(|error| problem(address, error))
}

/// Returns the web address of `ns/name[@rev]/path`, and the token for it.
pub(crate) fn hub(address: &str, rest: &str) -> Result<(Url, Option<String>)> {
    let mut parts = rest.splitn(3, '/');
    let (Some(namespace), Some(name), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(problem(address, "is not hf://ns/name[@rev]/path"));
    };
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    // As addresses of hubs spell a revision with slashes.
    let revision = revision.replace("%2F", "/").replace("%2f", "/");
    let mut url = parse(&set("HF_ENDPOINT").unwrap_or_else(|| HUB.into()))?;
    url.path_segments_mut()
        .map_err(|()| problem(address, "HF_ENDPOINT is no address of a server"))?
        .pop_if_empty()
        .extend([namespace, name, "resolve", &revision])
        .extend(path.split('/'));
    Ok((url, token_of_user()))
}

/// Returns a variable of the environment that says something.
fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Returns the token that clients of hubs use: that of the environment, or of their login.
pub(crate) fn token_of_user() -> Option<String> {
    let given = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN"));
    if given.is_some() {
        return given.map(|token| token.trim().to_owned());
    }
    if set("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| value != "0") {
        return None;
    }
    let home = || {
        let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")))?;
        Some(set("HF_HOME").map_or_else(|| cache.join("huggingface"), PathBuf::from))
    };
    let file = set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")))?;
    let token = fs::read_to_string(file).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Whether a variable of the environment says yes.
fn is_true(name: &str) -> bool {
    env::var(name).is_ok_and(|value| value == "true")
}

/// Returns how requests are sent: encrypted, unless the caller allows otherwise, and within a time.
fn client() -> ClientOptions {
    choose_encryption();
    ClientOptions::new()
        .with_timeout(TIMEOUT * 10)
        .with_read_timeout(TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: TIMEOUT * 3,
    }
}

/// Opens the bucket of an address; returns it, the place in it, and where the credentials come
/// from.
pub(crate) fn bucket(address: &str) -> Result<(Arc<dyn ObjectStore>, path::Path, String)> {
    let url = parse(address)?;
    let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|error| problem(address, error))?;
    let failed = |error: object_store::Error| problem(address, error);
    let (store, credentials): (Arc<dyn ObjectStore>, _) = match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let (builder, credentials) = amazon(address)?;
            (Arc::new(builder.build().map_err(failed)?), credentials)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(address);
            let client = client().with_allow_http(is_true("GOOGLE_ALLOW_HTTP"));
            let builder = builder.with_client_options(client).with_retry(retry());
            let credentials = "those of GOOGLE_APPLICATION_CREDENTIALS or of gcloud";
            (Arc::new(builder.build().map_err(failed)?), credentials.into())
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(address);
            let client = client().with_allow_http(is_true("AZURE_ALLOW_HTTP"));
            let builder = builder.with_client_options(client).with_retry(retry());
            let credentials = "those of AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY";
            (Arc::new(builder.build().map_err(failed)?), credentials.into())
        }
        _ => return Err(problem(address, "is neither a path nor s3://, gs:// or az://")),
    };
    Ok((store, path, credentials))
}

/// Returns what opens a bucket of S3, with the credentials of the environment or of a profile.
fn amazon(address: &str) -> Result<(AmazonS3Builder, String)> {
    let set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = endpoint.iter().find_map(|name| env::var(name).ok());
    let local = endpoint.is_some_and(|endpoint| {
        let host = Url::parse(&endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&&*host))
    });
    let allow = local || is_true("AWS_ALLOW_HTTP");
    let builder = AmazonS3Builder::from_env().with_url(address);
    let client = client().with_allow_http(allow);
    let builder = builder.with_client_options(client).with_retry(retry());
    if set("AWS_ACCESS_KEY_ID") {
        if !set("AWS_SECRET_ACCESS_KEY") {
            return Err(problem(address, "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not"));
        }
        return Ok((builder, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into()));
    }
    if is_true("AWS_SKIP_SIGNATURE") {
        return Ok((builder, "none, as AWS_SKIP_SIGNATURE asks".into()));
    }
    let others = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
    if let Some(name) = others.iter().find(|name| set(name)) {
        return Ok((builder, format!("those of {name}")));
    }
    let name = env::var("AWS_PROFILE").unwrap_or_else(|_| "default".into());
    let file = env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let file = file.or_else(|| Some(env::home_dir()?.join(".aws/credentials")));
    let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
    let from = format!(
        "profile {name:?} of {}",
        file.as_deref().map_or("~/.aws/credentials".into(), |file| file.display().to_string())
    );
    match text.as_deref().and_then(|text| profile(text, &name)) {
        Some((id, secret, token)) => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            Ok((token.into_iter().fold(builder, AmazonS3Builder::with_token), from))
        }
        None if set("AWS_PROFILE") || env::var_os("AWS_EC2_METADATA_DISABLED").is_some() => {
            let problem_ =
                format!("no credentials: AWS_ACCESS_KEY_ID is not set, and there is no {from}");
            Err(problem(address, problem_))
        }
        None => Ok((
            builder,
            format!(
                "none found: AWS_ACCESS_KEY_ID is not set, there is no {from}, and only the \
                 machine's own are left"
            ),
        )),
    }
}

/// Finds a profile in a file of credentials; returns its key, its secret and its session token.
fn profile(text: &str, name: &str) -> Option<(String, String, Option<String>)> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut within = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            within = section.trim() == name;
        } else if let (true, Some((key, value))) = (within, line.split_once('=')) {
            let value = Some(value.trim().to_owned());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some((id?, secret?, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_addresses_are_told_apart() {
        assert_eq!(directory("a/b"), Some("a/b".into()));
        assert_eq!(directory("file:///a/b"), Some("/a/b".into()));
        assert_eq!(directory("s3://bucket/place"), None);
        assert!(is_remote("hf://ns/name/file") && !is_remote("/hf:/ns") && !is_remote("file:///a"));
    }

    #[test]
    fn addresses_of_hubs_are_escaped() {
        let url = |rest| hub("hf", rest).map(|(url, _)| url.path().to_owned());
        assert_eq!(url("lab/m/a b/c#.bin").unwrap(), "/lab/m/resolve/main/a%20b/c%23.bin");
        assert_eq!(url("lab/m@refs%2Fpr%2F1/x").unwrap(), "/lab/m/resolve/refs%2Fpr%2F1/x");
        assert_eq!(url("lab/m@v1.0/x").unwrap(), "/lab/m/resolve/v1.0/x");
        assert!(url("lab/m").is_err());
    }

    #[test]
    fn profiles_are_found_by_name() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=B\n[other]\n\
                    aws_access_key_id=C\naws_secret_access_key=D\naws_session_token=E\n[half]\n\
                    aws_access_key_id=F\n";
        assert_eq!(profile(text, "default"), Some(("A".into(), "B".into(), None)));
        assert_eq!(profile(text, "other"), Some(("C".into(), "D".into(), Some("E".into()))));
        assert_eq!(profile(text, "half"), None);
        assert_eq!(profile(text, "none"), None);
    }
}
