//! `at1w serve`

use std::net::SocketAddr;
use std::path::PathBuf;

use at1w_registry::Store;
use at1w_server::{Config, serve};
use clap::Args;

use crate::Global;
use crate::failure::Result;
use crate::secret_key::unattended;

/// Serve a store to clients of the Hugging Face protocol
///
/// Clients are pointed at it by HF_ENDPOINT, and push and pull unchanged. A store is made at an
/// absent or empty place. The first start writes a token that may do everything to STORE.secrets,
/// readable by its owner alone. Without a token, clients on the same machine may read.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Serve {
    /// The store: a path, or s3://, gs:// or az://
    #[arg(value_name = "STORE")]
    store: String,
    /// The address to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A configuration in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another hub: a repository that is not here is fetched from there, and kept
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A namespace to fetch from upstream (repeatable); '*' is every one that nobody uses here
    /// [default: those that an admin token asks for]
    #[arg(long = "mirror", value_name = "NS")]
    namespaces: Vec<String>,
}

const HELP: &str = "\
Examples:
  at1w serve models
  HF_ENDPOINT=http://127.0.0.1:8080 HF_TOKEN=$(cat models.secrets/admin-token) \\
    hf upload lab/minilm minilm/";

impl Serve {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        config.listen = self.listen.unwrap_or(config.listen);
        config.mirror.upstream = self.upstream.unwrap_or(config.mirror.upstream);
        config.mirror.namespaces.extend(self.namespaces);
        if !config.secret_key.as_os_str().is_empty() {
            config.signer = Some(unattended(&config.secret_key)?);
        }
        let store = Store::open(&self.store)?;
        Ok(serve(store, config, |address, secrets| {
            if !global.quiet {
                eprintln!("serving {} at {address}; secrets in {secrets}", self.store);
            }
        })?)
    }
}
