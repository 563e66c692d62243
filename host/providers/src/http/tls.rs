//! Secure connections: which certificates are trusted. One way for models' services and for
//! agents' requests. Knows no address.

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// Which certificates are trusted.
#[derive(Clone, Copy)]
pub(crate) enum Trust<'t> {
    /// None: a plain `http` address gets by on a machine that has none.
    Nobody,
    /// The system's, and these. Reading the system's may take some milliseconds.
    System(&'t [CertificateDer<'static>]),
}

/// How connections are made that check certificates so.
pub(crate) fn config(trust: Trust<'_>, protocols: &[&str]) -> Result<ClientConfig, rustls::Error> {
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&crypto))
        .with_safe_default_protocol_versions()?;

    let config = match trust {
        Trust::System(also) => {
            let verifier = Verifier::new_with_extra_roots(also.iter().cloned(), crypto)?;
            let config = config.dangerous();
            config.with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::Nobody => config.with_root_certificates(RootCertStore::empty()),
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();

    Ok(config)
}
