//! The HTTP client of one service: which detours it takes.
//! Knows no wire format and no key.

use crate::capability::http::tls;
use crate::capability::model::config::Endpoint;
use crate::capability::model::provider::{ModelError, ModelErrorKind};
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
    let tls =
        tls::config(secure, &["h2", "http/1.1"]).map_err(|error| unusable(error.to_string()))?;
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
