//! TLS, where no proxy in front of the server ends it.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;
use crate::error::{Error, Result};

/// Returns what accepts connections by TLS; `None` where the configuration has no certificate.
pub(crate) fn acceptor(tls: &Tls) -> Result<Option<TlsAcceptor>> {
    let Tls { certificate, key } = tls;
    if certificate.as_os_str().is_empty() && key.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed =
        |path: &Path, problem: String| Error::Config { path: path.display().to_string(), problem };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| failed(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|error| failed(key, error.to_string()))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret);
    let mut config = config.map_err(|error| failed(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
