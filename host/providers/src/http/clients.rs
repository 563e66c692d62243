//! HTTP clients of services that an operator chose: which redirects they follow, and whose
//! certificates they trust.

use super::{is_loopback, tls};
use reqwest::redirect::Policy;
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Redirects that are followed where any are.
const REDIRECTS_MAX: usize = 5;

/// A client for the server at `address`, which may redirect within its own origin alone and
/// only so that a request stays what it was: its headers reach nobody else.
pub fn within_origin(address: &str) -> Result<reqwest::Client, String> {
    let url = reqwest::Url::parse(address).map_err(|error| error.to_string())?;
    let policy = Policy::custom(|attempt| {
        let kept = matches!(attempt.status().as_u16(), 307 | 308);
        let first = attempt.previous().first();
        let within = first.is_some_and(|first| first.origin() == attempt.url().origin());
        match kept && within && attempt.previous().len() <= REDIRECTS_MAX {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    });
    build(url.scheme() == "https", is_loopback(&url), policy)
}

/// A client for one request to this address. It follows no redirects.
pub(crate) fn without_redirects(url: &reqwest::Url) -> Result<reqwest::Client, String> {
    build(url.scheme() == "https", is_loopback(url), Policy::none())
}

fn build(secure: bool, loopback: bool, redirects: Policy) -> Result<reqwest::Client, String> {
    let trust = match secure {
        true => tls::Trust::System(&[]),
        false => tls::Trust::Nobody,
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
