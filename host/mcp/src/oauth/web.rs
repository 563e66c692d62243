//! The requests that authorizing makes: by the same TLS as all others, never less guarded than
//! the server's own address, and without what nobody needs of their answers. Knows no flow.

use super::kept::Kept;
use lastword_providers::model::exchange;
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take unless the protocol says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The members of an answer with a token that mean anything here. Others, such as an id token,
/// would be kept and logged for nothing.
const MEMBERS: [&str; 5] = [
    "access_token",
    "token_type",
    "expires_in",
    "refresh_token",
    "scope",
];

/// Sends them for one server.
pub(super) struct Web {
    /// Whether the operator reaches the server over `https`.
    pub(super) secure: bool,
    pub(super) kept: Arc<Kept>,
}

impl Web {
    /// Whether a server may send this host, or a person, to an address.
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

    async fn carry_out(
        &self,
        request: OAuthHttpRequest,
    ) -> Result<http::Response<Vec<u8>>, String> {
        // Redirects are followed by nobody: they would carry what is sent to other places.
        let OAuthHttpRequest {
            request, timeout, ..
        } = request;

        self.check(&request.uri().to_string())?;
        let mut response = exchange(request, timeout.unwrap_or(TIMEOUT)).await?;
        if let Ok(Value::Object(answer)) = serde_json::from_slice(response.body()) {
            let secrets = ["access_token", "refresh_token", "client_secret"];
            let secrets = secrets
                .iter()
                .filter_map(|name| answer.get(*name)?.as_str());
            self.kept.learn(secrets);
            if answer.contains_key("access_token") {
                *response.body_mut() = Value::Object(needed(answer)).to_string().into_bytes();
            }
        }

        Ok(response)
    }
}

fn needed(mut answer: Map<String, Value>) -> Map<String, Value> {
    answer.retain(|name, _| MEMBERS.contains(&name.as_str()));
    answer
}

impl OAuthHttpClient for Web {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move { self.carry_out(request).await.map_err(Into::into) })
    }
}
