//! Whom TLS trusts, and which protocols it offers.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Why TLS cannot be spoken at all: no receiver could be trusted.
#[derive(Debug, Error)]
pub enum NoRootCertificates {
    /// The system has none.
    #[error("the system's certificate authorities cannot be read: {0}")]
    None(String),
    /// The cryptography has no protocol version that it speaks safely.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// The certificate authorities that the system trusts.
pub fn system_roots() -> Result<RootCertStore, NoRootCertificates> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(NoRootCertificates::None(reasons.join("; ")));
    }
    Ok(roots)
}

/// TLS 1.2 and 1.3, offering HTTP/2 and HTTP/1.1.
pub fn tls_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
