//! The stored tokens of one server in the form that `rmcp` takes, on top of a [`TokenStore`] of
//! plain texts. A record for another address or another client is ignored.

use super::redacted_values::RedactedValues;
use super::store::TokenStore;
use rmcp::transport::auth::{AuthError, CredentialStore, OAuthTokenResponse, StoredCredentials};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of the stored form.
const VERSION: u32 = 1;

/// The stored record of one server.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The server's address; tokens are sent nowhere else.
    url: String,
    /// This host's registration at the authorization server.
    #[serde(default)]
    pub(super) registered: Registration,
    /// Scopes that the server asked for when no person could consent.
    #[serde(default)]
    pub(super) wanted: Vec<String>,
    #[serde(default)]
    pub(super) credentials: Option<StoredCredentials>,
}

/// The data of a registered client.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) redirect_uri: String,
    pub(super) client_secret: Option<String>,
}

impl Record {
    pub(super) fn token(&self) -> Option<&OAuthTokenResponse> {
        self.credentials.as_ref()?.token_response.as_ref()
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.credentials.as_ref()?.issuer.as_deref()
    }

    pub(super) fn granted(&self) -> &[String] {
        let granted = self.credentials.as_ref();
        granted.map_or(&[], |granted| granted.granted_scopes.as_slice())
    }

    /// Returns the values that have to be redacted.
    fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self.registered.client_secret.iter().cloned().collect();
        let token = serde_json::to_value(self.token()).unwrap_or_default();
        let parts = ["access_token", "refresh_token"].into_iter();
        secrets.extend(parts.filter_map(|part| Some(token[part].as_str()?.to_owned())));
        secrets
    }
}

/// Loads and stores the record of one server.
#[derive(Clone)]
pub(super) struct CredentialRecords {
    pub(super) server: String,
    pub(super) url: String,
    /// The client id that the operator chose, if any.
    pub(super) client_id: Option<String>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) redacted_values: Arc<RedactedValues>,
    /// The registration to store with the tokens that are obtained now.
    pub(super) registered: Option<Registration>,
}

impl CredentialRecords {
    /// Returns the record, or an empty one if it is for another address or client.
    pub(super) async fn record(&self) -> Result<Record, String> {
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        let loaded = tokio::task::spawn_blocking(move || store.load(&server)).await;
        let loaded = loaded.map_err(|error| error.to_string())?;
        let text = loaded.map_err(|error| format!("its tokens cannot be read: {error}"))?;
        let Some(text) = text else {
            return Ok(self.empty());
        };

        // A record of another version is ignored: the person is asked again.
        let record = serde_json::from_str(&text).unwrap_or_else(|_| self.empty());
        let chosen = self.client_id.as_ref();
        let known = record
            .credentials
            .as_ref()
            .map(|of: &StoredCredentials| &of.client_id);
        let other_client = chosen.is_some() && known.is_some() && chosen != known;

        if record.version != VERSION || record.url != self.url || other_client {
            return Ok(self.empty());
        }

        self.redacted_values
            .add(record.secrets().iter().map(String::as_str));
        Ok(record)
    }

    fn empty(&self) -> Record {
        Record {
            version: VERSION,
            url: self.url.clone(),
            ..Record::default()
        }
    }

    pub(super) async fn save_record(&self, record: Record) -> Result<(), String> {
        self.redacted_values
            .add(record.secrets().iter().map(String::as_str));
        let text = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        let saved = tokio::task::spawn_blocking(move || store.save(&server, &text)).await;
        let saved = saved.map_err(|error| error.to_string())?;
        saved.map_err(|error| format!("its tokens cannot be kept: {error}"))
    }

    pub(super) async fn remove_record(&self) -> Result<(), String> {
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        let cleared = tokio::task::spawn_blocking(move || store.clear(&server)).await;
        let cleared = cleared.map_err(|error| error.to_string())?;
        cleared.map_err(|error| format!("its tokens cannot be removed: {error}"))
    }
}

#[async_trait::async_trait]
impl CredentialStore for CredentialRecords {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        let record = self
            .record()
            .await
            .map_err(AuthError::CredentialStoreError)?;
        Ok(record.credentials)
    }

    async fn save(&self, credentials: StoredCredentials) -> Result<(), AuthError> {
        let failed = AuthError::CredentialStoreError;
        let mut record = self.record().await.map_err(failed)?;
        if let Some(registered) = &self.registered {
            record.registered = registered.clone();
        }
        record.credentials = Some(credentials);
        record.wanted.clear();
        self.save_record(record).await.map_err(failed)
    }

    async fn clear(&self) -> Result<(), AuthError> {
        self.remove_record()
            .await
            .map_err(AuthError::CredentialStoreError)
    }

    /// Drops a token that the authorization server has revoked; the granted scopes stay, and are
    /// asked for again.
    async fn on_refresh_token_rejected(
        &self,
        rejected: &StoredCredentials,
    ) -> Result<(), AuthError> {
        let failed = AuthError::CredentialStoreError;
        let mut record = self.record().await.map_err(failed)?;
        let same = |kept: &StoredCredentials| kept.token_received_at == rejected.token_received_at;
        if let Some(kept) = record.credentials.as_mut().filter(|kept| same(kept)) {
            kept.token_response = None;
            self.save_record(record).await.map_err(failed)?;
        }
        Ok(())
    }
}
