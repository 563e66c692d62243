//! The setting `oauth` of one server, and its checks. Secrets are still placeholders here.

use http::Uri;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The setting `oauth` of a server with a `url`: `true`, or a table.
///
/// ```toml
/// [mcp.tracker]
/// url = "https://tracker.example/mcp"
/// oauth = true
///
/// [mcp.builds]
/// url = "https://builds.example/mcp"
/// [mcp.builds.oauth]
/// grant = "client-credentials"
/// client_id = "lastword"
/// client_secret = "{{secret:BUILDS}}"
/// scopes = ["builds:read"]
/// ```
///
/// Without a `client_id`, the host identifies itself by `client_metadata_url` if the authorization
/// server supports this, and registers itself otherwise.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuthConfig {
    /// Whether the host acts on behalf of a person or on its own behalf.
    pub grant: OAuthGrant,
    /// The id under which the authorization server knows this host.
    pub client_id: Option<String>,
    /// The secret of that client id: a placeholder, `{{secret:NAME}}`.
    pub client_secret: Option<String>,
    /// The address of a client ID metadata document that describes this host.
    pub client_metadata_url: Option<String>,
    /// The scopes of the first request; by default those that the server advertises.
    pub scopes: Vec<String>,
}

/// Whether the host acts on behalf of a person or on its own behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OAuthGrant {
    /// On behalf of a person, who consents once: `authorization-code`.
    #[default]
    AuthorizationCode,
    /// On its own behalf, without a person: `client-credentials`.
    ClientCredentials,
}

/// Shows no value that may be a secret.
impl fmt::Debug for OAuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthConfig")
            .field("grant", &self.grant)
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret.is_some())
            .field("client_metadata_url", &self.client_metadata_url)
            .field("scopes", &self.scopes)
            .finish()
    }
}

/// Parses the setting. `true` and `{}` are equal, and so are `false` and an absent setting.
pub(crate) fn switch_or_table<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OAuthConfig>, D::Error> {
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = Option<OAuthConfig>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`true` or a table")
        }

        fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
            Ok(on.then(OAuthConfig::default))
        }

        fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
            OAuthConfig::deserialize(MapAccessDeserializer::new(table)).map(Some)
        }
    }

    deserializer.deserialize_any(Either)
}

/// Checks the setting. The error says what is wrong, and how to correct it.
pub(crate) fn check(config: &OAuthConfig) -> Result<(), String> {
    let secret = config.client_secret.as_deref();
    if secret.is_some_and(|secret| !secret.contains("{{secret:")) {
        return Err(
            "`client_secret` of `oauth` is no place for a secret: put it into [secrets.NAME], and \
             `{{secret:NAME}}` here"
                .to_owned(),
        );
    }

    if secret.is_some() && config.client_id.is_none() {
        return Err("`oauth` has a `client_secret` and no `client_id`: add it".to_owned());
    }

    if config.grant == OAuthGrant::ClientCredentials && secret.is_none() {
        return Err(
            "`grant = \"client-credentials\"` of `oauth` needs `client_id` and `client_secret`"
                .to_owned(),
        );
    }

    let odd = |scope: &&String| scope.is_empty() || scope.contains(char::is_whitespace);
    if let Some(scope) = config.scopes.iter().find(odd) {
        return Err(format!(
            "`scopes` of `oauth` holds `{scope}`: each scope is one word"
        ));
    }

    let document = config.client_metadata_url.as_deref();
    if document.is_some_and(|document| !is_document(document)) {
        Err("`client_metadata_url` of `oauth` has to be like \
                     https://example.com/lastword.json"
            .to_owned())
    } else {
        Ok(())
    }
}

fn is_document(address: &str) -> bool {
    let uri = address.parse::<Uri>();
    uri.is_ok_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some() && uri.path().len() > 1
    })
}
