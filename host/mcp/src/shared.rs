//! State that the connections to all servers share, and what the host knows about each server.

use super::config::{Endpoint, Server};
use super::handler::Elicit;
use super::launch::{NoSecretSource, SecretSource};
use super::oauth::{
    Authority, AuthoritySettings, Consent, InMemoryTokenStore, RedactedValues, RedactingSecrets,
    TokenStore,
};
use super::text::{ERROR_MAX, cut};
use lastword_os::clock::SystemClock;
use lastword_providers::tools::Spawner;
use lastword_types::clock::Clock;
use lastword_types::id::WorkspaceId;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Returns the directory of a workspace.
pub(super) type Directories = Arc<dyn Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync>;

/// The settings of an embedder. Those that are not set are the host's once the servers are attached
/// to one.
#[derive(Clone, Default)]
pub(super) struct EmbedderSettings {
    pub(super) fill: Option<Arc<dyn SecretSource>>,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) directories: Option<Directories>,
    pub(super) elicit: Option<Arc<dyn Elicit>>,
    pub(super) consent: Option<Arc<dyn Consent>>,
    pub(super) tokens: Option<Arc<dyn TokenStore>>,
    /// The soft limit on a program's descriptors, if it is not the host's.
    pub(super) descriptors: Option<u64>,
}

/// The parts that all connections share.
pub(super) struct Shared {
    pub(super) brought: EmbedderSettings,
    pub(super) directories: Directories,
    /// Redacts the operator's secrets and all tokens.
    pub(super) fill: Arc<dyn SecretSource>,
    pub(super) clock: Arc<dyn Clock>,
    /// Starts the servers that are programs.
    pub(super) spawner: Arc<Spawner>,
    authorities: HashMap<String, Authority>,
}

/// A server, and what is known about it.
pub(super) struct KnownServer {
    pub(super) server: Server,
    pub(super) endpoint: Arc<Endpoint>,
    facts: Mutex<ServerFacts>,
}

#[derive(Default)]
struct ServerFacts {
    spoken: ProtocolKind,
    rest_until: Duration,
}

/// The protocol that a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProtocolKind {
    /// It has not responded yet.
    #[default]
    Unknown,
    /// A version before 2026-07-28; also assumed if it hung up on the probe.
    Older,
    /// Version 2026-07-28 or later.
    Newer,
}

impl Shared {
    pub(super) fn new(brought: EmbedderSettings, servers: &[Arc<KnownServer>]) -> Self {
        let redacted_values = Arc::new(RedactedValues::default());
        let operator = brought.fill.clone();
        let fill: Arc<dyn SecretSource> = Arc::new(RedactingSecrets {
            operator: operator.unwrap_or_else(|| Arc::new(NoSecretSource)),
            redacted_values: Arc::clone(&redacted_values),
        });

        let clock = brought.clock.clone().unwrap_or_else(SystemClock::shared);
        let directories = brought.directories.clone();
        let tokens = brought.tokens.clone();
        let setting = AuthoritySettings {
            consent: brought.consent.clone(),
            tokens: tokens.unwrap_or_else(|| Arc::new(InMemoryTokenStore::default())),
            fill: Arc::clone(&fill),
            redacted_values,
            clock: Arc::clone(&clock),
        };

        let authorities = servers.iter().filter_map(|known| {
            let Endpoint::Http {
                url,
                oauth: Some(oauth),
                ..
            } = &*known.endpoint
            else {
                return None;
            };

            let name = &known.server.name;
            let authority = Authority::new(name, url, oauth, setting.clone());
            Some((name.clone(), authority))
        });

        Self {
            authorities: authorities.collect(),
            clock,
            directories: directories.unwrap_or_else(|| Arc::new(|_| None)),
            spawner: Arc::new(Spawner::with_descriptors(brought.descriptors)),
            brought,
            fill,
        }
    }

    /// Returns an error text without secrets, and cut to its bound.
    pub(super) fn redacted(&self, why: &str) -> String {
        cut(self.fill.redact(why), ERROR_MAX)
    }

    /// Returns the authorization of a server, if it is configured with OAuth.
    pub(super) fn authority(&self, server: &str) -> Option<&Authority> {
        self.authorities.get(server)
    }
}

impl KnownServer {
    pub(super) fn new(server: Server, endpoint: Endpoint) -> Self {
        Self {
            server,
            endpoint: Arc::new(endpoint),
            facts: Mutex::default(),
        }
    }

    fn facts(&self) -> MutexGuard<'_, ServerFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the protocol by which the server is asked first.
    pub(super) fn spoken(&self) -> ProtocolKind {
        self.facts().spoken
    }

    pub(super) fn set_spoken(&self, spoken: ProtocolKind) {
        self.facts().spoken = spoken;
    }

    /// Returns how long the server still must not be asked.
    pub(super) fn rest_remaining(&self, now: Duration) -> Option<Duration> {
        let rest = self.facts().rest_until.saturating_sub(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// Lets the server rest until this time.
    pub(super) fn rest_until(&self, until: Duration) {
        self.facts().rest_until = until;
    }
}
