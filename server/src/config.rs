//! The configuration of a server. Every value has a default; `docs/REGISTRY.md` lists them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use at1w_container::Level;
use at1w_registry::{Billed, Price};
use reqwest::Url;
use serde::Deserialize;

use crate::error::{Error, Result};

/// The configuration of a server, as its TOML file states it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address under which clients reach the server; empty is what they say themselves.
    pub public_url: String,
    /// The folder of the secrets, which lies outside of the store; empty is beside the store.
    pub secrets: PathBuf,
    /// The folder for files on their way; empty is that of the system.
    pub staging: PathBuf,
    /// How hard to look for a small encoding.
    #[serde(deserialize_with = "level")]
    pub level: Level,
    /// The addresses of proxies, which are believed about whom they speak for.
    pub proxies: Vec<IpAddr>,
    /// Who may read without a token.
    pub anonymous: Anonymous,
    /// The form of the log.
    pub log: LogForm,
    /// What a client may take.
    pub limits: Limits,
    /// Another hub whose repositories are kept here.
    pub mirror: Mirror,
    /// What usage costs, and how often it is added up.
    pub meter: Meter,
    /// The bytes that each namespace may hold, each file once; `*` is for all that are not named.
    pub quotas: BTreeMap<String, u64>,
    /// Where the numbers for Prometheus are.
    pub metrics: Metrics,
    /// How the store is scrubbed.
    pub scrub: Scrub,
    /// How what is committed is stored as differences.
    pub differences: Differences,
    /// The file with the key that signs seals of usage records, and scrubs; empty is none.
    pub secret_key: PathBuf,
    /// What signs with that key.
    #[serde(skip)]
    pub signer: Option<SignWith>,
    /// The certificate, where no proxy has one.
    pub tls: Tls,
    /// Whose signature a revision needs.
    pub signatures: Signatures,
}

/// The keys of which one must have signed a revision before its files are handed out.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Signatures {
    /// The files of the public keys, of minisign or of model signing; without any, nothing needs to
    /// be signed.
    pub keys: Vec<PathBuf>,
    /// The path of a bundle of model signing in a revision.
    pub bundle: String,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { keys: Vec::new(), bundle: "model.sig".into() }
    }
}

/// A certificate and its key, in files of PEM. Without them the server speaks plain HTTP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate, and those that lead to one that clients know.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What usage costs, and how often it is added up.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Meter {
    /// The price of a terabyte for a month; empty is none.
    pub price: String,
    /// The currency of it, as statements name it.
    pub currency: String,
    /// The size that is billed.
    pub billed: Billed,
    /// The seconds between two times at which sizes are added up; 0 is never.
    pub sample: u64,
}

impl Default for Meter {
    fn default() -> Self {
        let (price, currency) = (String::new(), String::new());
        Self { price, currency, billed: Billed::default(), sample: 3600 }
    }
}

/// Where the numbers for Prometheus are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Metrics {
    /// An address that has them for whoever reaches it; without one a token is asked for.
    pub listen: Option<SocketAddr>,
}

/// How the store is scrubbed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Scrub {
    /// The seconds after which a namespace is scrubbed again; 0 is never.
    pub every: u64,
    /// The number of bytes that are proven a second; 0 is any number.
    pub rate: u64,
}

/// How what is committed is stored as differences, where that takes far less.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Differences {
    /// The seconds after which bases are looked for of what was committed since; 0 is never.
    pub every: u64,
}

impl Default for Differences {
    fn default() -> Self {
        Self { every: 60 }
    }
}

/// What signs a message, and returns why it cannot.
#[derive(Clone)]
pub struct SignWith(Arc<Sign>);

type Sign = dyn Fn(&str) -> Result<String, String> + Send + Sync;

impl SignWith {
    /// Returns what signs by a function.
    pub fn new(sign: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(sign))
    }

    pub(crate) fn sign(&self, message: &str) -> Result<String, String> {
        (self.0)(message)
    }
}

impl fmt::Debug for SignWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignWith")
    }
}

/// Another hub whose repositories are fetched when they are asked for, and kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Mirror {
    /// Its address; empty is none.
    pub upstream: String,
    /// The file with the token for it; empty is none.
    pub token_file: PathBuf,
    /// The namespaces that are fetched from there; `*` is every one that nobody uses here. Where
    /// none are named, an administrator chooses them by asking for them.
    pub namespaces: Vec<String>,
    /// Whether what is private or gated there is kept, as private, too.
    pub private: bool,
    /// The largest sum of what is kept, in bytes.
    pub quota: u64,
    /// The seconds for which a branch is believed to be where it was.
    pub lifetime: u64,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            upstream: String::new(),
            token_file: PathBuf::new(),
            namespaces: Vec::new(),
            private: false,
            quota: 1 << 40,
            lifetime: 300,
        }
    }
}

/// Who may read what is not private without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// Nobody.
    Never,
    /// Clients on the same machine, where the server listens on loopback and no proxy speaks.
    Loopback,
    /// Everybody.
    Always,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What clients may take. Sizes are in bytes, times in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// The largest file.
    pub file: u64,
    /// The largest body of a commit.
    pub commit: u64,
    /// The largest shard of an upload.
    pub shard: u64,
    /// The staging disk of all requests together.
    pub staging: u64,
    /// The memory for bodies of all requests together.
    pub memory: u64,
    /// The memory for trees and for the headers of files that are remembered.
    pub cache: u64,
    /// The number of connections.
    pub connections: usize,
    /// The number of uploads that are packed, and of commits that are made, at the same time.
    pub packing: usize,
    /// The number of pieces of files that are decoded at the same time; 0 is two for each core.
    pub decoding: usize,
    /// The time in which the headers of a request must have come.
    pub header_time: u64,
    /// The time in which the next bytes of a body must have come, or gone.
    pub idle_time: u64,
    /// The number of requests for each token or address within five minutes; 0 is any number.
    pub requests: u32,
    /// The number of downloads for each token or address within five minutes; 0 is any number.
    pub downloads: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: String::new(),
            secrets: PathBuf::new(),
            staging: PathBuf::new(),
            level: Level::default(),
            proxies: Vec::new(),
            anonymous: Anonymous::Loopback,
            log: LogForm::Text,
            limits: Limits::default(),
            mirror: Mirror::default(),
            meter: Meter::default(),
            quotas: BTreeMap::new(),
            metrics: Metrics::default(),
            scrub: Scrub::default(),
            differences: Differences::default(),
            secret_key: PathBuf::new(),
            signer: None,
            tls: Tls::default(),
            signatures: Signatures::default(),
        }
    }
}

impl Limits {
    /// Returns the largest file that can come: it has to fit onto the staging disk.
    pub(crate) fn largest(&self) -> u64 {
        self.file.min(self.staging)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file: 512 << 30,
            commit: 256 << 20,
            shard: 64 << 20,
            staging: 128 << 30,
            memory: 256 << 20,
            cache: 256 << 20,
            connections: 1024,
            packing: 2,
            decoding: 0,
            header_time: 15,
            idle_time: 60,
            requests: 20_000,
            downloads: 100_000,
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`Error::Config`] for one that is not readable or not understood.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |problem: String| Error::Config { path: path.display().to_string(), problem };
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let url = &config.public_url;
        if !url.is_empty() {
            // As browsers write it: in small letters, and without a port that goes without saying.
            let parsed =
                Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let problem = || format!("public_url = {url:?} is no address of http:// or https://");
            let url = parsed.ok_or_else(problem)?.to_string();
            config.public_url = url.trim_end_matches('/').into();
        }
        if !config.meter.price.is_empty() {
            Price::parse(&config.meter.price).map_err(|error| format!("price: {error}"))?;
        }
        Ok(config)
    }

    /// Returns the folder of the secrets of a store.
    pub(crate) fn secrets_of(&self, store: &at1w_registry::Store) -> PathBuf {
        if !self.secrets.as_os_str().is_empty() {
            return self.secrets.clone();
        }
        match store.objects().root() {
            Some(root) => {
                let mut name = root.as_os_str().to_owned();
                name.push(".secrets");
                name.into()
            }
            None => "at1w-secrets".into(),
        }
    }

    /// Returns the folder for files on their way.
    pub(crate) fn staging_folder(&self) -> PathBuf {
        match self.staging.as_os_str().is_empty() {
            true => std::env::temp_dir(),
            false => self.staging.clone(),
        }
    }
}

fn level<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Level, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_default_and_unknown_keys_are_refused() {
        let config = Config::parse("").unwrap();
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.anonymous, Anonymous::Loopback);
        let text = "public_url = \"HTTPS://Hub.test:443/\"\nlevel = \"fast\"\n[limits]\ncommit = 5";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.public_url, "https://hub.test");
        assert_eq!(config.limits.commit, 5);
        assert!(matches!(config.level, Level::Fast));
        for wrong in ["lissten = 1", "level = \"best\"", "public_url = \"hub\"", "listen = \"x\""] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
