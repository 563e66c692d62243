//! HTTP clients for services that an operator chose: their redirects, proxies and certificates.

use super::{is_loopback, tls};
use reqwest::redirect::Policy;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How many redirects are followed where they are allowed.
const REDIRECTS_MAX: usize = 5;

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
pub(crate) fn without_redirects(url: &reqwest::Url) -> Result<reqwest::Client, String> {
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
