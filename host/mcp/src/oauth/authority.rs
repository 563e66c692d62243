//! The authorization of one server: the client that carries its token, and when a new one is
//! obtained. One attempt at a time, and only a few without a successful call in between.
//! [`flow`](super::flow) obtains the token.

use super::super::decode::Decoder;
use super::super::http::HttpClient;
use super::super::launch::SecretSource;
use super::super::text::{ERROR_MAX, cut};
use super::config::{OAuthConfig, OAuthGrant};
use super::consent::Consent;
use super::credential_records::{CredentialRecords, Record};
use super::oauth_http::OAuthHttp;
use super::redacted_values::RedactedValues;
use super::store::{InMemoryTokenStore, TokenStore};
use lastword_providers::causes;
use lastword_providers::http::within_origin;
use lastword_types::clock::Clock;
use rmcp::transport::AuthClient;
use rmcp::transport::auth::{
    AuthorizationManager, OAuthClientConfig, OAuthHttpClient, WWWAuthenticateParams,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// The largest number of authorizations of one server without a successful call in between.
pub(crate) const STEPS_MAX: u32 = 3;
/// The longest time in which a person has to consent.
const CONSENT_MAX: Duration = Duration::from_secs(5 * 60);

/// What the authorities of all servers share.
#[derive(Clone)]
pub(crate) struct AuthoritySettings {
    pub(crate) consent: Option<Arc<dyn Consent>>,
    pub(crate) tokens: Arc<dyn TokenStore>,
    pub(crate) fill: Arc<dyn SecretSource>,
    pub(crate) redacted_values: Arc<RedactedValues>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The authorization state of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginState {
    /// No person has to consent.
    ByItself,
    /// There is a token.
    TokenStored,
    /// There is no token.
    Missing,
}

/// The authorization of one server, for all workspaces.
pub(crate) struct Authority {
    pub(super) server: String,
    pub(super) url: String,
    pub(super) config: OAuthConfig,
    pub(super) setting: AuthoritySettings,
    pub(super) records: CredentialRecords,
    pub(super) oauth_http: Arc<OAuthHttp>,
    /// The client of all connections, created when it is first needed.
    client: Mutex<Option<AuthClient<HttpClient>>>,
    /// Attempts since the last successful call. Locked during an attempt.
    steps: Mutex<u32>,
    /// How many tokens were obtained.
    obtained: AtomicU64,
}

impl Authority {
    pub(crate) fn new(
        server: &str,
        url: &str,
        config: &OAuthConfig,
        setting: AuthoritySettings,
    ) -> Self {
        // A token of the host's own can be obtained again without a person, so it is not written to
        // disk.
        let store = match config.grant {
            OAuthGrant::AuthorizationCode => Arc::clone(&setting.tokens),
            OAuthGrant::ClientCredentials => Arc::new(InMemoryTokenStore::default()),
        };

        Self {
            server: server.to_owned(),
            url: url.to_owned(),
            config: config.clone(),
            records: CredentialRecords {
                server: server.to_owned(),
                url: url.to_owned(),
                client_id: config.client_id.clone(),
                store,
                redacted_values: Arc::clone(&setting.redacted_values),
                registered: None,
            },
            oauth_http: Arc::new(OAuthHttp {
                secure: url.starts_with("https:"),
                redacted_values: Arc::clone(&setting.redacted_values),
            }),
            setting,
            client: Mutex::default(),
            steps: Mutex::default(),
            obtained: AtomicU64::new(0),
        }
    }

    /// Returns the number of the current token. Read it before a request, to pass it to
    /// [`Authority::authorize`].
    pub(crate) fn obtained(&self) -> u64 {
        self.obtained.load(Ordering::Acquire)
    }

    /// Returns a client that sends the token, if there is one, and refreshes it.
    pub(crate) async fn client(&self) -> Result<AuthClient<HttpClient>, String> {
        let client = self.unconfigured_client().await?;
        let mut manager = client.auth_manager.lock().await;
        let record = self.records.record().await?;
        let configured = manager.get_credentials().await.ok().map(|(id, _)| id);

        if let (Some(credentials), Some(_)) = (&record.credentials, record.token())
            && configured.as_ref() != Some(&credentials.client_id)
        {
            let there = manager.initialize_from_store().await;
            if there.map_err(|error| causes(&error))? {
                let known = self.known(&record, &credentials.client_id)?;
                let known = manager.configure_client(known);
                known.map_err(|error| causes(&error))?;
            }
        }

        drop(manager);
        Ok(client)
    }

    async fn unconfigured_client(&self) -> Result<AuthClient<HttpClient>, String> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }

        let manager = self.manager(self.records.clone()).await?;
        // This decoder is a placeholder: each connection brings its own.
        let decoder = Arc::new(Decoder::new(&self.server, &self.setting.fill));
        let http = HttpClient::new(within_origin(&self.url)?, decoder);
        let new = AuthClient::new(http, manager);

        Ok(client.insert(new).clone())
    }

    pub(super) async fn manager(
        &self,
        records: CredentialRecords,
    ) -> Result<AuthorizationManager, String> {
        let oauth_http: Arc<dyn OAuthHttpClient> = Arc::clone(&self.oauth_http) as _;
        let manager = AuthorizationManager::new_with_oauth_http_client(&self.url, oauth_http).await;
        let mut manager = manager.map_err(|error| causes(&error))?;
        manager.set_credential_store(records);
        Ok(manager)
    }

    /// Returns the registration of a client that the authorization server already knows.
    pub(super) fn known(&self, record: &Record, id: &str) -> Result<OAuthClientConfig, String> {
        let secret = match &self.config.client_secret {
            Some(secret) => Some(self.setting.fill.fill(secret)?),
            None => record.registered.client_secret.clone(),
        };

        let redirect = match record.registered.redirect_uri.as_str() {
            "" => self.url.as_str(),
            redirect => redirect,
        };
        let known = OAuthClientConfig::new(id, redirect);
        Ok(match secret {
            Some(secret) => known.with_client_secret(secret),
            None => known,
        })
    }

    /// Obtains a new token, after the server responded with `challenge` to a request that was sent
    /// with token number `since`. Ends within minutes.
    pub(crate) async fn authorize(
        &self,
        challenge: Option<&str>,
        since: u64,
    ) -> Result<(), String> {
        let mut steps = self.steps.lock().await;

        if self.obtained() != since {
            // Another call has obtained a token meanwhile.
            return Ok(());
        }

        self.refuse_repetition(challenge).await?;

        if *steps == STEPS_MAX {
            return Err(format!(
                "{} asks for authorization again and again: it was given {STEPS_MAX} times \
                 without a call that was answered; ask those who run it",
                self.server
            ));
        }

        if self.config.grant == OAuthGrant::AuthorizationCode && self.setting.consent.is_none() {
            return Err(self.no_consent_error(challenge).await);
        }

        *steps += 1;
        self.obtain(challenge).await
    }

    /// Obtains a token now, even if there is one.
    pub(crate) async fn login(&self) -> Result<(), String> {
        let mut steps = self.steps.lock().await;
        self.obtain(None).await?;
        *steps = 0;
        Ok(())
    }

    async fn obtain(&self, challenge: Option<&str>) -> Result<(), String> {
        let obtained = tokio::select! {
            obtained = self.obtain_token(challenge) => obtained,
            () = self.setting.clock.sleep(CONSENT_MAX) => Err(format!(
                "no person consented within {} minutes", CONSENT_MAX.as_secs() / 60
            )),
        };

        let manager = obtained.map_err(|why| {
            let why = self.setting.fill.redact(&why);
            format!("{} is not authorized: {}", self.server, cut(why, ERROR_MAX))
        })?;

        let client = self.unconfigured_client().await?;
        *client.auth_manager.lock().await = manager;
        self.obtained.fetch_add(1, Ordering::AcqRel);

        Ok(())
    }

    /// Notes a successful call, which resets the count of attempts.
    pub(crate) async fn call_succeeded(&self) {
        *self.steps.lock().await = 0;
    }

    /// Removes the token.
    pub(crate) async fn logout(&self) -> Result<(), String> {
        let _nothing_under_way = self.steps.lock().await;
        self.records.remove_record().await
    }

    /// Returns the state of the authorization, without asking the server.
    pub(crate) async fn login_state(&self) -> Result<LoginState, String> {
        if self.config.grant == OAuthGrant::ClientCredentials {
            return Ok(LoginState::ByItself);
        }
        let record = self.records.record().await?;
        Ok(match record.token() {
            Some(_) => LoginState::TokenStored,
            None => LoginState::Missing,
        })
    }

    /// Fails if the server wants the scopes that were already granted, since it would ask for them
    /// again and again.
    async fn refuse_repetition(&self, challenge: Option<&str>) -> Result<(), String> {
        let Some(lacking) = self.lacking(challenge) else {
            return Ok(());
        };
        let record = self.records.record().await?;
        let granted = record.granted();

        if !lacking.is_empty() && lacking.iter().all(|scope| granted.contains(scope)) {
            Err(format!(
                "{} asks for the scopes that it was granted: {}; ask those who run it",
                self.server,
                cut(lacking.join(" "), ERROR_MAX)
            ))
        } else {
            Ok(())
        }
    }

    /// Returns the scopes that a challenge reports as missing, if it does.
    fn lacking(&self, challenge: Option<&str>) -> Option<Vec<String>> {
        let url = self.url.parse().ok()?;
        let parsed = WWWAuthenticateParams::parse(challenge?, &url);
        let scopes = parsed.is_insufficient_scope().then_some(parsed.scope)?;
        let scopes = scopes.unwrap_or_default();
        Some(scopes.split_whitespace().map(str::to_owned).collect())
    }

    /// Returns the error if no person can consent: what to do, and which scopes to ask for.
    async fn no_consent_error(&self, challenge: Option<&str>) -> String {
        let server = &self.server;
        let lacking = self.lacking(challenge).unwrap_or_default();
        if !lacking.is_empty()
            && let Ok(mut record) = self.records.record().await
        {
            record.wanted = union([record.wanted.as_slice(), &lacking]);
            if let Err(why) = self.records.save_record(record).await {
                tracing::warn!(target: "lastword::mcp", server, "{why}");
            }
        }

        let more = if lacking.is_empty() {
            String::new()
        } else {
            format!(" to more ({})", cut(lacking.join(" "), 200))
        };

        let why =
            format!("{server} needs a person's consent{more}: log in to {server}, then ask again");
        self.setting.fill.redact(&why)
    }
}

/// Concatenates the lists, without duplicates.
pub(super) fn union<const N: usize>(lists: [&[String]; N]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for scope in lists.into_iter().flatten() {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}
