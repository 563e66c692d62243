//! What all connections to all servers share, and what is learnt of each server. Knows no
//! connection.

use super::config::{Reach, Server};
use super::handler::Elicit;
use super::launch::{Fill, NoSecrets};
use super::oauth::{Authority, Consent, Forgetful, Kept, Redacting, Setting, TokenStore};
use super::text::{ERROR_MAX, cut};
use lastword_os::clock::SystemClock;
use lastword_providers::tools::Starter;
use lastword_types::clock::Clock;
use lastword_types::id::WorkspaceId;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where a workspace is.
pub(super) type Directories = Arc<dyn Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync>;

/// What an embedder brings.
#[derive(Clone)]
pub(super) struct Brought {
    pub(super) fill: Arc<dyn Fill>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) directories: Directories,
    pub(super) elicit: Option<Arc<dyn Elicit>>,
    pub(super) consent: Option<Arc<dyn Consent>>,
    pub(super) tokens: Option<Arc<dyn TokenStore>>,
    /// The soft limit of programs' descriptors, if it is not the host's.
    pub(super) descriptors: Option<u64>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) brought: Brought,
    /// Knows the operator's secrets, and all tokens beside.
    pub(super) fill: Arc<dyn Fill>,
    pub(super) clock: Arc<dyn Clock>,
    /// Starts the servers that are programs.
    pub(super) starter: Arc<Starter>,
    authorities: HashMap<String, Authority>,
}

/// A server, and what was learnt about it.
pub(super) struct Known {
    pub(super) server: Server,
    pub(super) reach: Arc<Reach>,
    learnt: Mutex<Learnt>,
}

#[derive(Default)]
struct Learnt {
    spoken: Spoken,
    rests_until: Duration,
}

/// Which protocol a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spoken {
    /// It has not answered yet.
    #[default]
    Unknown,
    /// One before 2026-07-28, or it hung up when it was asked.
    Older,
    /// One since.
    Newer,
}

impl Default for Brought {
    fn default() -> Self {
        Self {
            fill: Arc::new(NoSecrets),
            clock: SystemClock::shared(),
            directories: Arc::new(|_| None),
            elicit: None,
            consent: None,
            tokens: None,
            descriptors: None,
        }
    }
}

impl Shared {
    pub(super) fn new(brought: Brought, servers: &[Arc<Known>]) -> Self {
        let kept = Arc::new(Kept::default());
        let fill: Arc<dyn Fill> = Arc::new(Redacting {
            operator: Arc::clone(&brought.fill),
            kept: Arc::clone(&kept),
        });

        let tokens = brought.tokens.clone();
        let setting = Setting {
            consent: brought.consent.clone(),
            tokens: tokens.unwrap_or_else(|| Arc::new(Forgetful::default())),
            fill: Arc::clone(&fill),
            kept,
            clock: Arc::clone(&brought.clock),
        };

        let authorities = servers.iter().filter_map(|known| {
            let Reach::Web {
                url,
                oauth: Some(oauth),
                ..
            } = &*known.reach
            else {
                return None;
            };

            let name = &known.server.name;
            let authority = Authority::new(name, url, oauth, setting.clone());
            Some((name.clone(), authority))
        });

        Self {
            authorities: authorities.collect(),
            clock: Arc::clone(&brought.clock),
            starter: Arc::new(Starter::with_descriptors(brought.descriptors)),
            brought,
            fill,
        }
    }

    /// What may be said of a failure.
    pub(super) fn said(&self, why: &str) -> String {
        cut(self.fill.redact(why), ERROR_MAX)
    }

    /// Who authorizes this host at a server, if it is by OAuth.
    pub(super) fn authority(&self, server: &str) -> Option<&Authority> {
        self.authorities.get(server)
    }
}

impl Known {
    pub(super) fn new(server: Server, reach: Reach) -> Self {
        Self {
            server,
            reach: Arc::new(reach),
            learnt: Mutex::default(),
        }
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the server is to be asked first.
    pub(super) fn spoken(&self) -> Spoken {
        self.learnt().spoken
    }

    pub(super) fn set_spoken(&self, spoken: Spoken) {
        self.learnt().spoken = spoken;
    }

    /// How long the server still wants to be left alone.
    pub(super) fn rests(&self, now: Duration) -> Option<Duration> {
        let rest = self.learnt().rests_until.saturating_sub(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// The server wants to be left alone until then.
    pub(super) fn rest_until(&self, until: Duration) {
        self.learnt().rests_until = until;
    }
}
