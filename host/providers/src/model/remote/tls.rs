//! The HTTP client of one model service.

use crate::http::without_redirects;
use crate::model::endpoint::Endpoint;
use crate::model::provider::{ModelError, ModelErrorKind};

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

    without_redirects(&endpoint.base_url).map_err(unusable)
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
