//! The authorization of one server: the client that carries its token, and when a new one is
//! obtained. One attempt at a time, and no more than a few without an answer in between. Knows
//! no workspace; how a token is obtained is `flow`'s.

use super::super::decode::Decoder;
use super::super::http::HttpClient;
use super::super::launch::Fill;
use super::super::text::{ERROR_MAX, causes, cut};
use super::config::{OAuthConfig, OAuthGrant};
use super::consent::Consent;
use super::kept::Kept;
use super::shelf::{Record, Shelf};
use super::store::{Forgetful, TokenStore};
use super::web::Web;
use lastword_providers::model::within_origin;
use lastword_types::clock::Clock;
use rmcp::transport::AuthClient;
use rmcp::transport::auth::{
    AuthorizationManager, OAuthClientConfig, OAuthHttpClient, WWWAuthenticateParams,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Authorizations for one server without an answered call in between.
pub(crate) const STEPS_MAX: u32 = 3;
/// How long a person has to consent.
const CONSENT_MAX: Duration = Duration::from_secs(5 * 60);

/// What an authority is made of.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) consent: Option<Arc<dyn Consent>>,
    pub(crate) tokens: Arc<dyn TokenStore>,
    pub(crate) fill: Arc<dyn Fill>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How a server stands with its authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// Nobody has to consent.
    ByItself,
    /// There is a token.
    Kept,
    /// There is none.
    Missing,
}

/// The authorization of one server, for all workspaces.
pub(crate) struct Authority {
    pub(super) server: String,
    pub(super) url: String,
    pub(super) config: OAuthConfig,
    pub(super) setting: Setting,
    pub(super) shelf: Shelf,
    pub(super) web: Arc<Web>,
    /// The client of all connections, once one was needed.
    client: Mutex<Option<AuthClient<HttpClient>>>,
    /// Attempts since a call was answered. Held during an attempt.
    steps: Mutex<u32>,
    /// How often a token was obtained.
    obtained: AtomicU64,
}

impl Authority {
    pub(crate) fn new(server: &str, url: &str, config: &OAuthConfig, setting: Setting) -> Self {
        // A token of the host's own is had again without anybody: it is written nowhere.
        let store = match config.grant {
            OAuthGrant::AuthorizationCode => Arc::clone(&setting.tokens),
            OAuthGrant::ClientCredentials => Arc::new(Forgetful::default()),
        };

        Self {
            server: server.to_owned(),
            url: url.to_owned(),
            config: config.clone(),
            shelf: Shelf {
                server: server.to_owned(),
                url: url.to_owned(),
                client_id: config.client_id.clone(),
                store,
                kept: Arc::clone(&setting.kept),
                registered: None,
            },
            web: Arc::new(Web {
                secure: url.starts_with("https:"),
                kept: Arc::clone(&setting.kept),
            }),
            setting,
            client: Mutex::default(),
            steps: Mutex::default(),
            obtained: AtomicU64::new(0),
        }
    }

    /// Which token is the newest. To be read before a request, for [`Authority::authorize`].
    pub(crate) fn obtained(&self) -> u64 {
        self.obtained.load(Ordering::Acquire)
    }

    /// A client that sends the token, if there is one, and refreshes it.
    pub(crate) async fn client(&self) -> Result<AuthClient<HttpClient>, String> {
        let client = self.unsettled().await?;
        let mut manager = client.auth_manager.lock().await;
        let record = self.shelf.record().await?;
        let configured = manager.get_credentials().await.ok().map(|(id, _)| id);

        if let (Some(credentials), Some(_)) = (&record.credentials, record.token())
            && configured.as_ref() != Some(&credentials.client_id)
        {
            let there = manager.initialize_from_store().await;
            if there.map_err(|error| self.said(&error))? {
                let known = self.known(&record, &credentials.client_id)?;
                let known = manager.configure_client(known);
                known.map_err(|error| self.said(&error))?;
            }
        }

        drop(manager);
        Ok(client)
    }

    async fn unsettled(&self) -> Result<AuthClient<HttpClient>, String> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }

        let manager = self.manager(self.shelf.clone()).await?;
        // Each connection brings a decoder of its own.
        let decoder = Arc::new(Decoder::new(&self.server, &self.setting.fill));
        let http = HttpClient::new(within_origin(&self.url)?, decoder);
        let new = AuthClient::new(http, manager);

        Ok(client.insert(new).clone())
    }

    pub(super) async fn manager(&self, shelf: Shelf) -> Result<AuthorizationManager, String> {
        let web: Arc<dyn OAuthHttpClient> = Arc::clone(&self.web) as _;
        let manager = AuthorizationManager::new_with_oauth_http_client(&self.url, web).await;
        let mut manager = manager.map_err(|error| self.said(&error))?;
        manager.set_credential_store(shelf);
        Ok(manager)
    }

    /// A client that the authorization server knows already.
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

    /// Obtains a token that the server takes, after it answered with this challenge to a
    /// request that was sent with the token of `since`. Ends within minutes.
    pub(crate) async fn authorize(
        &self,
        challenge: Option<&str>,
        since: u64,
    ) -> Result<(), String> {
        let mut steps = self.steps.lock().await;

        if self.obtained() != since {
            // Somebody else was asked the same meanwhile.
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
            return Err(self.nobody(challenge).await);
        }

        *steps += 1;
        self.obtain(challenge).await
    }

    /// Obtains a token now, whatever there was.
    pub(crate) async fn login(&self) -> Result<(), String> {
        let mut steps = self.steps.lock().await;
        self.obtain(None).await?;
        *steps = 0;
        Ok(())
    }

    async fn obtain(&self, challenge: Option<&str>) -> Result<(), String> {
        let obtained = tokio::select! {
            obtained = self.flow(challenge) => obtained,
            () = self.setting.clock.sleep(CONSENT_MAX) => Err(format!(
                "nobody consented within {} minutes", CONSENT_MAX.as_secs() / 60
            )),
        };

        let manager = obtained.map_err(|why| {
            let why = self.setting.fill.redact(&why);
            format!("{} is not authorized: {}", self.server, cut(why, ERROR_MAX))
        })?;

        let client = self.unsettled().await?;
        *client.auth_manager.lock().await = manager;
        self.obtained.fetch_add(1, Ordering::AcqRel);

        Ok(())
    }

    /// A call was answered: what it took is forgiven.
    pub(crate) async fn answered(&self) {
        *self.steps.lock().await = 0;
    }

    /// Gives up the token.
    pub(crate) async fn logout(&self) -> Result<(), String> {
        let _nothing_under_way = self.steps.lock().await;
        self.shelf.forget().await
    }

    /// How it stands, as far as that is known here.
    pub(crate) async fn stands(&self) -> Result<Login, String> {
        if self.config.grant == OAuthGrant::ClientCredentials {
            return Ok(Login::ByItself);
        }
        let record = self.shelf.record().await?;
        Ok(match record.token() {
            Some(_) => Login::Kept,
            None => Login::Missing,
        })
    }

    /// A server that wants what it was given would ask for it without end.
    async fn refuse_repetition(&self, challenge: Option<&str>) -> Result<(), String> {
        let Some(lacking) = self.lacking(challenge) else {
            return Ok(());
        };
        let record = self.shelf.record().await?;
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

    /// The scopes that a challenge finds missing, if that is what it says.
    fn lacking(&self, challenge: Option<&str>) -> Option<Vec<String>> {
        let url = self.url.parse().ok()?;
        let parsed = WWWAuthenticateParams::parse(challenge?, &url);
        let scopes = parsed.is_insufficient_scope().then_some(parsed.scope)?;
        let scopes = scopes.unwrap_or_default();
        Some(scopes.split_whitespace().map(str::to_owned).collect())
    }

    /// Nobody is there to consent: what to do, and what is to be asked for then.
    async fn nobody(&self, challenge: Option<&str>) -> String {
        let server = &self.server;
        let lacking = self.lacking(challenge).unwrap_or_default();
        if !lacking.is_empty()
            && let Ok(mut record) = self.shelf.record().await
        {
            record.wanted = union([record.wanted.as_slice(), &lacking]);
            if let Err(why) = self.shelf.put(record).await {
                tracing::warn!(target: "lastword::mcp", server, "{why}");
            }
        }

        let more = if lacking.is_empty() {
            String::new()
        } else {
            format!(" to more ({})", cut(lacking.join(" "), 200))
        };

        let why = format!(
            "{server} needs a person's consent{more}: run `lastword mcp login {server}`, then ask \
             again"
        );
        self.setting.fill.redact(&why)
    }

    pub(super) fn said(&self, error: &(dyn std::error::Error + 'static)) -> String {
        causes(error)
    }
}

/// All of them, each once, in their order.
pub(super) fn union<const N: usize>(lists: [&[String]; N]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for scope in lists.into_iter().flatten() {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}
