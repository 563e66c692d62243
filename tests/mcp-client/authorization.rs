//! Authorization for the scenarios `auth/`: the settings that an operator would write, the
//! secrets that the suite hands out, and a person who consents at once. Knows no server.

use futures_util::future::BoxFuture;
use lastword::mcp::{Consent, ConsentRequest, OAuthConfig, OAuthGrant, SecretSource};
use serde_json::Value;

/// A redirect address that the suite's servers never redirect to.
const REDIRECT: &str = "http://localhost:3000/callback";
/// What the suite expects of a client that names itself by a document.
const DOCUMENT: &str = "https://conformance-test.local/client-metadata.json";

/// What an operator would write for this scenario.
pub(crate) fn oauth(scenario: &Value) -> Option<OAuthConfig> {
    let name = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    if !name.starts_with("auth/") {
        return None;
    }
    let secret = |field: &str| {
        let given = scenario[field].is_string();
        given.then(|| format!("{{{{secret:{field}}}}}"))
    };
    Some(OAuthConfig {
        grant: match name.starts_with("auth/client-credentials") {
            true => OAuthGrant::ClientCredentials,
            false => OAuthGrant::AuthorizationCode,
        },
        client_id: scenario["client_id"].as_str().map(str::to_owned),
        client_secret: secret("client_secret"),
        client_metadata_url: Some(DOCUMENT.to_owned()),
        ..OAuthConfig::default()
    })
}

/// The secrets of a scenario.
pub(crate) struct Given(pub(crate) Value);

impl SecretSource for Given {
    fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = text.to_owned();
        for (name, value) in self.0.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            filled = filled.replace(&format!("{{{{secret:{name}}}}}"), value);
        }
        Ok(filled)
    }

    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Somebody who consents to everything.
pub(crate) struct Willing;

impl Consent for Willing {
    fn redirect_uri(&self) -> String {
        REDIRECT.to_owned()
    }

    fn consent(&self, request: ConsentRequest) -> BoxFuture<'static, Result<String, String>> {
        Box::pin(async move {
            eprintln!("consents to {:?}", request.scopes);
            drop(rustls::crypto::ring::default_provider().install_default());
            let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
            let browser = browser.no_proxy().build().map_err(|e| e.to_string())?;
            let answer = browser.get(&request.address).send().await;
            let answer = answer.map_err(|error| error.to_string())?;
            let sent = answer.headers().get("location");
            let sent = sent.and_then(|to| to.to_str().ok());
            sent.map(str::to_owned)
                .ok_or_else(|| format!("nobody is sent anywhere: {}", answer.status()))
        })
    }
}
