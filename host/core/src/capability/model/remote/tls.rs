//! The HTTP client of one service: which certificates it trusts and which detours it takes.
//! Knows no wire format and no key.

use crate::capability::model::config::Endpoint;
use crate::capability::model::provider::{ModelError, ModelErrorKind};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A client for `endpoint`. It follows no redirects, which would carry keys to places that
/// nobody configured, and takes no proxy to its own machine.
pub(super) fn client(endpoint: &Endpoint) -> Result<reqwest::Client, ModelError> {
    let unusable = |reason: String| {
        ModelError::new(
            ModelErrorKind::Unavailable,
            format!(
                "cannot set up a connection to {}: {reason}",
                endpoint.base_url
            ),
        )
    };
    let secure = endpoint.base_url.scheme() == "https";
    let tls = tls(secure).map_err(|error| unusable(error.to_string()))?;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    if endpoint.is_loopback() {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| unusable(error.to_string()))
}

/// Certificates are checked against the system's; a plain `http` address gets by on a machine
/// that has none.
fn tls(secure: bool) -> Result<ClientConfig, rustls::Error> {
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(crypto).with_safe_default_protocol_versions()?;
    let config = match secure {
        true => config.with_platform_verifier()?,
        false => config.with_root_certificates(RootCertStore::empty()),
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::model::config::{Service, ServiceConfig};

    #[test]
    fn https_is_spoken() {
        let endpoint = Endpoint::new(Service::OpenAi, &ServiceConfig::default(), &|_| None);
        let endpoint = endpoint.unwrap();
        assert_eq!(endpoint.base_url.scheme(), "https");
        // A machine without certificates says so; a build without TLS could not get here.
        if let Err(error) = client(&endpoint) {
            assert!(error.message.contains("certificate"), "{error}");
        }
    }
}
