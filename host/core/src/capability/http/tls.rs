//! Secure connections: which certificates are trusted. One way for models' services and for
//! agents' requests. Knows no address.

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;

/// Certificates are checked against the system's; a plain `http` address gets by on a machine
/// that has none. Reading the system's may take some milliseconds.
pub(in crate::capability) fn config(
    secure: bool,
    protocols: &[&str],
) -> Result<ClientConfig, rustls::Error> {
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(crypto).with_safe_default_protocol_versions()?;
    let config = match secure {
        true => config.with_platform_verifier()?,
        false => config.with_root_certificates(RootCertStore::empty()),
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(config)
}
