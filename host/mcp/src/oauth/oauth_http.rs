//! The HTTP requests of the OAuth flow. They use the same TLS as all others, must be https if the
//! server's own address is, and their responses are reduced to what is needed.

use super::redacted_values::RedactedValues;
use lastword_providers::http::exchange;
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Default timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The members of a token response that are used. Others, such as an id token, would be stored and
/// logged needlessly.
const MEMBERS: [&str; 5] = [
    "access_token",
    "token_type",
    "expires_in",
    "refresh_token",
    "scope",
];

/// Sends the requests for one server.
pub(super) struct OAuthHttp {
    /// Whether the server's address is `https`.
    pub(super) secure: bool,
    pub(super) redacted_values: Arc<RedactedValues>,
}

impl OAuthHttp {
    /// Checks an address that a server sends this host or a person to.
    pub(super) fn check(&self, address: &str) -> Result<(), String> {
        let scheme = address.split("://").next().unwrap_or_default();
        match (scheme, self.secure) {
            ("https", _) | ("http", false) => Ok(()),
            _ => Err(format!(
                "its authorization server is to be reached at `{}`, which is not https",
                address.split('?').next().unwrap_or_default()
            )),
        }
    }

    async fn send(&self, request: OAuthHttpRequest) -> Result<http::Response<Vec<u8>>, String> {
        // Redirects are not followed: they would send secrets to other places.
        let OAuthHttpRequest {
            request, timeout, ..
        } = request;

        self.check(&request.uri().to_string())?;
        let mut response = exchange(request, timeout.unwrap_or(TIMEOUT)).await?;
        if let Ok(Value::Object(mut answer)) = serde_json::from_slice(response.body()) {
            let secrets = ["access_token", "refresh_token", "client_secret"];
            let secrets = secrets
                .iter()
                .filter_map(|name| answer.get(*name)?.as_str());
            self.redacted_values.add(secrets);
            if answer.contains_key("access_token") {
                answer.retain(|name, _| MEMBERS.contains(&name.as_str()));
                *response.body_mut() = Value::Object(answer).to_string().into_bytes();
            }
        }

        Ok(response)
    }
}

impl OAuthHttpClient for OAuthHttp {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move { self.send(request).await.map_err(Into::into) })
    }
}
