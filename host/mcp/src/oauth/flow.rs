//! Obtains a token: discovery, registration of this host, a person's consent, and the exchange.
//! Each call is one attempt; [`authority`](super::authority) decides when and how often.

use super::authority::{Authority, union};
use super::config::OAuthGrant;
use super::consent::{Consent, ConsentRequest};
use super::credential_records::{Record, Registration};
use lastword_providers::{causes, foreign};
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadataResolution,
    ClientCredentialsConfig, OAuthClientConfig,
};

/// The name under which this host registers itself.
const NAME: &str = "lastword";
/// The scope of tokens that remain valid in a person's absence.
const OFFLINE: &str = "offline_access";

impl Authority {
    /// Obtains a token once and stores it. Returns the manager, which can refresh it.
    pub(super) async fn obtain_token(
        &self,
        challenge: Option<&str>,
    ) -> Result<AuthorizationManager, String> {
        let mut manager = self.manager(self.records.clone()).await?;
        let found = manager.resolve_metadata_from_challenge(challenge).await;
        let found = found.map_err(|error| causes(&error))?;

        self.oauth_http
            .check(&found.metadata.authorization_endpoint)?;
        self.oauth_http.check(&found.metadata.token_endpoint)?;
        manager.set_metadata(found.metadata.clone());

        let record = self.record_for(&found).await?;

        match self.config.grant {
            OAuthGrant::ClientCredentials => {
                self.client_credentials_grant(&mut manager, &record).await?;
            }
            OAuthGrant::AuthorizationCode => {
                refuse_without_pkce(&found)?;
                self.authorization_code_grant(&mut manager, &found, record)
                    .await?;
            }
        }

        Ok(manager)
    }

    /// Loads the stored record, unless another authorization server issued it: credentials of one
    /// server are not sent to another.
    async fn record_for(&self, found: &AuthorizationMetadataResolution) -> Result<Record, String> {
        let record = self.records.record().await?;
        let issuer = found.metadata.issuer.as_deref();
        if record.credentials.is_none() || record.issuer() == issuer {
            return Ok(record);
        }
        self.records.remove_record().await?;
        self.records.record().await
    }

    async fn client_credentials_grant(
        &self,
        manager: &mut AuthorizationManager,
        record: &Record,
    ) -> Result<(), String> {
        let mut scopes = manager.select_initial_scopes(&[]).await;
        // Without a person, the scope has no meaning.
        scopes.retain(|scope| scope != OFFLINE);

        let scopes = if self.config.scopes.is_empty() {
            union([record.granted(), &scopes])
        } else {
            union([&self.config.scopes, record.granted()])
        };

        let secret = self.config.client_secret.as_deref().unwrap_or_default();
        let credentials = ClientCredentialsConfig::ClientSecret {
            client_id: self.config.client_id.clone().unwrap_or_default(),
            client_secret: self.setting.fill.fill(secret)?,
            scopes,
            resource: Some(self.url.clone()),
        };

        let obtained = async {
            manager.validate_client_credentials_metadata(&credentials)?;
            manager.configure_client_credentials(&credentials)?;
            manager.exchange_client_credentials(&credentials).await
        };
        let obtained: Result<_, AuthError> = obtained.await;
        obtained.map_err(|error| causes(&error))?;

        Ok(())
    }

    async fn authorization_code_grant(
        &self,
        manager: &mut AuthorizationManager,
        found: &AuthorizationMetadataResolution,
        record: Record,
    ) -> Result<(), String> {
        let consent = self.setting.consent.as_ref();
        let consent = consent.ok_or("this host cannot ask a person for consent")?;
        let redirect = foreign::caught(async || consent.redirect_uri()).await;
        let redirect = redirect.map_err(|error| format!("there is no consent: {error}"))?;
        let scopes = self.scopes(manager, &record).await;
        let client = self.registration(manager, found, &record, &redirect, &scopes);
        let client = client.await?;
        let mut records = self.records.clone();

        records.registered = Some(Registration {
            redirect_uri: redirect,
            client_secret: match self.config.client_secret {
                // The operator's own secret is not stored; it stays in their configuration.
                Some(_) => None,
                None => client.client_secret.clone(),
            },
        });

        manager.set_credential_store(records);
        let configured = manager.configure_client(client);
        configured.map_err(|error| causes(&error))?;

        let callback = self.ask_consent(manager, consent.as_ref(), scopes).await?;
        let (code, state) = (&callback.code, &callback.csrf_token);
        let issuer = callback.issuer.as_deref();
        let exchanged = manager.exchange_code_for_token_with_issuer(code, state, issuer);

        exchanged.await.map_err(|error| causes(&error))?;
        Ok(())
    }

    /// Returns the scopes to ask for: those granted before together with those that are missing
    /// now, or else those of the operator, or else those that the server advertises.
    async fn scopes(&self, manager: &AuthorizationManager, record: &Record) -> Vec<String> {
        let challenged = manager.select_initial_scopes(&[]).await;
        let first = record.granted().is_empty() && record.wanted.is_empty();
        if first && !self.config.scopes.is_empty() {
            self.config.scopes.clone()
        } else {
            union([record.granted(), &record.wanted, &challenged])
        }
    }

    /// Returns this host's registration: the one that the operator configured, its metadata
    /// document, its earlier registration, or a new one.
    async fn registration(
        &self,
        manager: &mut AuthorizationManager,
        found: &AuthorizationMetadataResolution,
        record: &Record,
        redirect: &str,
        scopes: &[String],
    ) -> Result<OAuthClientConfig, String> {
        let takes_documents = found
            .metadata
            .additional_fields
            .get("client_id_metadata_document_supported")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or_default();

        let document = self.config.client_metadata_url.as_ref();
        let chosen = self.config.client_id.as_ref();
        if let Some(id) = chosen.or(document.filter(|_| takes_documents)) {
            let mut known = self.known(record, id)?;
            redirect.clone_into(&mut known.redirect_uri);
            if chosen.is_none() {
                known.client_secret = None;
            }
            return Ok(known);
        }

        if let Some(credentials) = &record.credentials
            && record.registered.redirect_uri == redirect
        {
            return self.known(record, &credentials.client_id);
        }

        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let registered = manager.register_client(NAME, redirect, &scopes).await;

        registered.map_err(|error| {
            let why = causes(&error);
            let server = &self.server;
            format!(
                "{why}; register this host there by hand with the redirect {redirect}, and write \
                 its `client_id` into [mcp.{server}.oauth]"
            )
        })
    }

    /// Asks a person for consent, and parses the address of the redirect.
    async fn ask_consent(
        &self,
        manager: &AuthorizationManager,
        consent: &dyn Consent,
        scopes: Vec<String>,
    ) -> Result<AuthorizationCallback, String> {
        let words: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let address = manager.get_authorization_url(&words).await;

        let request = ConsentRequest {
            server: self.server.clone(),
            address: address.map_err(|error| causes(&error))?,
            scopes,
        };
        let answered = foreign::caught(|| consent.consent(request)).await;
        let back = answered.map_err(|error| format!("there is no consent: {error}"))??;

        if let Some(refusal) = refusal_of(&back) {
            return Err(format!("consent was refused: {refusal}"));
        }

        let callback = AuthorizationCallback::from_redirect_url(&back);
        let callback = callback.map_err(|error| causes(&error))?;
        self.setting.redacted_values.add([callback.code.as_str()]);

        Ok(callback)
    }
}

/// Refuses an authorization server whose metadata does not list PKCE.
fn refuse_without_pkce(found: &AuthorizationMetadataResolution) -> Result<(), String> {
    let methods = found.metadata.code_challenge_methods_supported.as_ref();
    let offered = methods.is_some_and(|methods| methods.iter().any(|method| method == "S256"));
    if offered || !found.source.is_discovered() {
        Ok(())
    } else {
        Err(
            "its authorization server does not say that it offers PKCE with S256, without which \
             a code could be used by whoever sees it"
                .to_owned(),
        )
    }
}

/// Returns the error in a redirect, as the authorization server's short code.
fn refusal_of(back: &str) -> Option<&str> {
    let query = back.split_once('?')?.1;
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("error="))
}
