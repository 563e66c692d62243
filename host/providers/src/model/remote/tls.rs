//! HTTP clients for services: their redirects, proxies and certificates.

use crate::http::tls;
use crate::model::endpoint::{Endpoint, is_loopback};
use crate::model::provider::{ModelError, ModelErrorKind};
use reqwest::redirect::Policy;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How many redirects are followed where they are allowed.
const REDIRECTS_MAX: usize = 5;

/// Creates a client for `endpoint`. It follows no redirects, which would send keys to unconfigured
/// places, and uses no proxy for its own machine.
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
    build(secure, endpoint.is_loopback(), Policy::none()).map_err(unusable)
}

/// Creates a client for the server at `address`. It only follows redirects within its own origin
/// that do not change the request, so that its headers go nowhere else.
pub fn within_origin(address: &str) -> Result<reqwest::Client, String> {
    let url = reqwest::Url::parse(address).map_err(|error| error.to_string())?;
    let policy = Policy::custom(|attempt| {
        let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
        let first = attempt.previous().first();
        let within = first.is_some_and(|first| first.origin() == attempt.url().origin());
        if keeps_method && within && attempt.previous().len() <= REDIRECTS_MAX {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    build(url.scheme() == "https", is_loopback(&url), policy)
}

/// Creates a client for one request to this address. It follows no redirects.
pub(super) fn without_redirects(url: &reqwest::Url) -> Result<reqwest::Client, String> {
    build(url.scheme() == "https", is_loopback(url), Policy::none())
}

fn build(secure: bool, loopback: bool, redirects: Policy) -> Result<reqwest::Client, String> {
    let trust = if secure {
        tls::Trust::System(&[])
    } else {
        tls::Trust::None
    };
    let tls = tls::config(trust, &["h2", "http/1.1"]).map_err(|error| error.to_string())?;

    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirects)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);

    if loopback {
        builder = builder.no_proxy();
    }

    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::ServiceConfig;
    use crate::model::endpoint::Service;

    #[test]
    fn https_is_spoken() {
        let endpoint = Endpoint::new(Service::OpenAi, &ServiceConfig::default(), &|_| None);
        let endpoint = endpoint.unwrap();
        assert_eq!(endpoint.base_url.scheme(), "https");
        // On a machine without certificates the error says so; without TLS, it would be another.
        if let Err(error) = client(&endpoint) {
            assert!(error.message.contains("certificate"), "{error}");
        }
    }
}
