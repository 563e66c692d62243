//! How a token is obtained: discovery, who this host is, a person's consent, and the exchange.
//! Each call is one attempt. Knows neither when nor how often.

use super::authority::{Authority, union};
use super::config::OAuthGrant;
use super::consent::{Consent, ConsentRequest};
use super::shelf::{Record, Registered};
use lastword_providers::foreign;
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadataResolution,
    ClientCredentialsConfig, OAuthClientConfig,
};

/// What this host is called where it registers itself.
const NAME: &str = "lastword";
/// The scope of tokens that outlast a person's presence.
const OFFLINE: &str = "offline_access";

impl Authority {
    /// One attempt. Its token is kept; the manager knows how to refresh it.
    pub(super) async fn flow(
        &self,
        challenge: Option<&str>,
    ) -> Result<AuthorizationManager, String> {
        let mut manager = self.manager(self.shelf.clone()).await?;
        let found = manager.resolve_metadata_from_challenge(challenge).await;
        let found = found.map_err(|error| self.said(&error))?;

        self.web.check(&found.metadata.authorization_endpoint)?;
        self.web.check(&found.metadata.token_endpoint)?;
        manager.set_metadata(found.metadata.clone());

        let record = self.record_of(&found).await?;

        match self.config.grant {
            OAuthGrant::ClientCredentials => self.by_itself(&mut manager, &record).await?,
            OAuthGrant::AuthorizationCode => {
                refuse_without_pkce(&found)?;
                self.by_consent(&mut manager, &found, record).await?;
            }
        }

        Ok(manager)
    }

    /// What is kept, unless another authorization server issued it: nothing of one goes to
    /// another.
    async fn record_of(&self, found: &AuthorizationMetadataResolution) -> Result<Record, String> {
        let record = self.shelf.record().await?;
        let issuer = found.metadata.issuer.as_deref();
        if record.credentials.is_none() || record.issuer() == issuer {
            return Ok(record);
        }
        self.shelf.forget().await?;
        self.shelf.record().await
    }

    async fn by_itself(
        &self,
        manager: &mut AuthorizationManager,
        record: &Record,
    ) -> Result<(), String> {
        let mut scopes = manager.select_initial_scopes(&[]).await;
        // There is nobody whose absence it could mean.
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
        obtained.map_err(|error| self.said(&error))?;

        Ok(())
    }

    async fn by_consent(
        &self,
        manager: &mut AuthorizationManager,
        found: &AuthorizationMetadataResolution,
        record: Record,
    ) -> Result<(), String> {
        let consent = self.setting.consent.as_ref();
        let consent = consent.ok_or("this host has nobody who consents")?;
        let redirect = foreign::caught(async || consent.redirect_uri()).await;
        let redirect = redirect.map_err(|error| format!("there is no consent: {error}"))?;
        let scopes = self.scopes(manager, &record).await;
        let client = self.client_of(manager, found, &record, &redirect, &scopes);
        let client = client.await?;
        let mut shelf = self.shelf.clone();

        shelf.registered = Some(Registered {
            redirect_uri: redirect,
            client_secret: match self.config.client_secret {
                // The operator's own stays where they put it.
                Some(_) => None,
                None => client.client_secret.clone(),
            },
        });

        manager.set_credential_store(shelf);
        let configured = manager.configure_client(client);
        configured.map_err(|error| self.said(&error))?;

        let callback = self.ask(manager, consent.as_ref(), scopes).await?;
        let (code, state) = (&callback.code, &callback.csrf_token);
        let issuer = callback.issuer.as_deref();
        let exchanged = manager.exchange_code_for_token_with_issuer(code, state, issuer);

        exchanged.await.map_err(|error| self.said(&error))?;
        Ok(())
    }

    /// What is asked for: what was granted before and what is missing now, or what the
    /// operator or else the server says.
    async fn scopes(&self, manager: &AuthorizationManager, record: &Record) -> Vec<String> {
        let challenged = manager.select_initial_scopes(&[]).await;
        let first = record.granted().is_empty() && record.wanted.is_empty();
        if first && !self.config.scopes.is_empty() {
            self.config.scopes.clone()
        } else {
            union([record.granted(), &record.wanted, &challenged])
        }
    }

    /// Who this host is: as the operator says, by its document, as it registered before, or
    /// as it registers now.
    async fn client_of(
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
            let why = self.said(&error);
            let server = &self.server;
            format!(
                "{why}; register this host there by hand with the redirect {redirect}, and write \
                 its `client_id` into [mcp.{server}.oauth]"
            )
        })
    }

    /// Asks a person, and reads what comes back.
    async fn ask(
        &self,
        manager: &AuthorizationManager,
        consent: &dyn Consent,
        scopes: Vec<String>,
    ) -> Result<AuthorizationCallback, String> {
        let words: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let address = manager.get_authorization_url(&words).await;

        let request = ConsentRequest {
            server: self.server.clone(),
            address: address.map_err(|error| self.said(&error))?,
            scopes,
        };
        let answered = foreign::caught(|| consent.consent(request)).await;
        let back = answered.map_err(|error| format!("there is no consent: {error}"))??;

        if let Some(refusal) = refusal_of(&back) {
            return Err(format!("consent was refused: {refusal}"));
        }

        let callback = AuthorizationCallback::from_redirect_url(&back);
        let callback = callback.map_err(|error| self.said(&error))?;
        self.setting.kept.learn([callback.code.as_str()]);

        Ok(callback)
    }
}

/// Servers that publish what they do have to say that they do this.
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

/// The error that an authorization server sends a person back with, in its own short words.
fn refusal_of(back: &str) -> Option<&str> {
    let query = back.split_once('?')?.1;
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("error="))
}
