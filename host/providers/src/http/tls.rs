//! The TLS settings of requests to model services and of agents' requests.

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// Which certificates are trusted.
#[derive(Clone, Copy)]
pub(crate) enum Trust<'t> {
    /// None: for plain `http`, which also works on a machine without certificates.
    None,
    /// The system's, and these. Reading the system's may take some milliseconds.
    System(&'t [CertificateDer<'static>]),
}

/// Creates TLS settings with this trust.
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
        Trust::None => config.with_root_certificates(RootCertStore::empty()),
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();

    Ok(config)
}
